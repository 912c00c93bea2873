"""The list of what a run took, in order and on disk before each name appears: resume and undo go by it.

One line a file, tab-separated: kind (file, folder, other), inode, size, mtime in ns, path in the tree, path below the
destination. A last line without its end was cut by a kill and counts for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from engines.backup.files.model import parsed, shown

Kind = Literal["file", "folder", "other"]
FIELDS = 6


@dataclass(frozen=True)
class TakenFile:
    """One line. A folder's inode is not known beforehand and stays 0."""

    kind: Kind
    inode: int
    size: int
    mtime: int
    source: bytes
    place: bytes

    def line(self) -> bytes:
        """As it is written."""
        paths = f"{shown(self.source)}\t{shown(b'/' + self.place)}"
        return f"{self.kind}\t{self.inode}\t{self.size}\t{self.mtime}\t{paths}\n".encode()

    def is_still(self, found: os.stat_result) -> bool:
        """Whether what is there now is what was taken, untouched since."""
        return (found.st_ino, found.st_size, found.st_mtime_ns) == (self.inode, self.size, self.mtime)


def read(raw: bytes) -> list[TakenFile]:
    """Every whole line."""
    return [taken for line in raw.split(b"\n")[:-1] if (taken := _taken(line.decode("utf-8", "replace")))]


def _taken(line: str) -> TakenFile | None:
    parts = line.split("\t")
    if len(parts) != FIELDS or parts[0] not in ("file", "folder", "other"):
        return None
    kind: Kind = "file" if parts[0] == "file" else "folder" if parts[0] == "folder" else "other"
    return TakenFile(kind, int(parts[1]), int(parts[2]), int(parts[3]), parsed(parts[4]), parsed(parts[5])[1:])


class TakenList:
    """An open list, appended to."""

    def __init__(self, folder: int, name: bytes) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        raw = self.raw()
        self.before = read(raw)
        if raw and not raw.endswith(b"\n"):
            os.write(self._descriptor, b"\n")

    def raw(self) -> bytes:
        """All of it."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, size, 0)

    def add(self, taken: Iterable[TakenFile], *, durable: bool) -> None:
        """Append; on the disk when it returns, if `durable`. Raises OSError."""
        lines = b"".join(each.line() for each in taken)
        start = os.fstat(self._descriptor).st_size
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
        except OSError:
            os.ftruncate(self._descriptor, start)
            raise
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of it; twice does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
