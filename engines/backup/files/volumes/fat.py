"""FAT and exFAT as a Volume, in this process, through The Sleuth Kit's pytsk3.

The library is not thread-safe: one lock a volume. Its folders hold deleted and virtual files too; those are hidden.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from typing import Any

from typing_extensions import override

from engines.backup.files.model import BrowseError, Node, NoSuchFile, Source, Volume, VolumeInfo, shown
from engines.backup.files.ranges import joined
from engines.backup.files.volumes.dentries import Dentries
from engines.backup.files.volumes.window import Window

KINDS = {1: stat.S_IFREG, 2: stat.S_IFDIR, 3: stat.S_IFIFO, 4: stat.S_IFCHR, 5: stat.S_IFBLK, 6: stat.S_IFLNK}
KINDS |= {8: stat.S_IFSOCK}
ALLOCATED = 1
HIDDEN = (b".", b"..")
LABEL = b" (Volume Label Entry)"  # how the library writes FAT's entry of the label
VIRTUAL = (10, 11)  # name types
READ = 4 * 1024 * 1024
DATA, DEFAULT = 128, 1  # attribute types of a file's bytes: in NTFS, elsewhere
NON_RESIDENT, COMPRESSED = 0x02, 0x20  # attribute flags
FILLER, SPARSE = 0x01, 0x02  # run flags


class TskVolume(Volume):
    """See Volume. `source` is the file system's own bytes, from its first."""

    driver = "quick"

    def __init__(self, source: Source, info: VolumeInfo, state: str) -> None:
        import pytsk3

        self.info = info
        self.state = state
        self._lock = threading.Lock()
        self._dentries = Dentries()
        self._trouble: list[Exception] = []
        window, trouble = Window(source, 0, source.size), self._trouble

        class Image(pytsk3.Img_Info):  # type: ignore[misc]  # pytsk3 has no types
            """The window as pytsk3 reads it."""

            def __init__(self) -> None:
                super().__init__(url="")

            def read(self, offset: int, length: int) -> bytes:
                """An error of the backup is kept: the library would tell it as one of the file system."""
                try:
                    return window.read(offset, length)
                except Exception as error:
                    trouble.append(error)
                    raise

            def get_size(self) -> int:
                return window.size

        self._image = Image()
        try:
            self._fs = pytsk3.FS_Info(self._image, offset=0)
        except OSError as error:
            raise self._said(error, f"{info.name}: this {info.format} cannot be opened") from None

    def _said(self, error: Exception, words: str) -> Exception:
        """What went wrong, in our words; the backup's own error where that was the cause."""
        if self._trouble:
            cause = self._trouble.pop()
            self._trouble.clear()
            return cause
        detail = str(error).rsplit("with error: ", 1)[-1].rsplit(") ", 1)[-1].strip()
        return BrowseError(f"{words}: {detail}" if detail else words, "try --driver libguestfs")

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────────

    def _open(self, path: bytes) -> Any:
        """The library's file at `path`; the lock is held."""
        number = int(self._fs.info.root_inum)
        for part in path.split(b"/"):
            if part:
                number = self._lookup(number, part, path)
        return self._file(number, path)

    def _file(self, number: int, path: bytes) -> Any:
        try:
            found = self._fs.open_meta(inode=number)
        except OSError as error:
            raise self._said(error, f"{shown(path)} cannot be opened") from None
        if found.info.meta is None:
            raise BrowseError(f"{shown(path)}: its record {number} is damaged")
        return found

    def _lookup(self, folder: int, name: bytes, path: bytes) -> int:
        """A name's record in a folder: as it is written, else as Windows would find it."""
        known = self._dentries.get(folder, lambda: self._names(folder, path))
        if name in known:
            return known[name]
        wanted = name.lower()
        for each, number in known.items():
            if each.lower() == wanted:
                return number
        raise NoSuchFile(f"{shown(path)}: there is no such file")

    def _names(self, folder: int, path: bytes) -> dict[bytes, int]:
        found = self._file(folder, path)
        if int(found.info.meta.type) != 2:
            raise NoSuchFile(f"{shown(path)}: there is no such file")
        return {node.name: node.inode for node in self._nodes(found, folder, path)}

    def _nodes(self, found: Any, number: int, path: bytes) -> Iterator[Node]:
        """What a guest sees in a folder; the lock is held."""
        at_root = number == int(self._fs.info.root_inum)
        try:
            for entry in found.as_directory():
                if node := _entry(entry, at_root):
                    yield node
        except OSError as error:
            raise self._said(error, f"{shown(path)} cannot be listed") from None

    @override
    def stat(self, path: bytes) -> Node:
        with self._lock:
            return _node(path.rsplit(b"/", 1)[-1], self._open(path).info.meta)

    @override
    def list(self, path: bytes) -> Iterator[Node]:
        with self._lock:
            found = self._open(path)
            if int(found.info.meta.type) != 2:
                raise BrowseError(f"{shown(path)} is no folder")
            number = int(found.info.meta.addr)
            nodes = {node.name: node for node in self._nodes(found, number, path)}
            self._dentries.put(number, {node.name: node.inode for node in nodes.values()})
        yield from nodes.values()

    # ── bytes ───────────────────────────────────────────────────────────────────────────────────────

    def _regular(self, path: bytes) -> Any:
        found = self._open(path)
        if int(found.info.meta.type) != 1:
            raise BrowseError(f"{shown(path)} is no regular file")
        return found

    @override
    def read(self, path: bytes, offset: int, length: int) -> bytes:
        with self._lock:
            found = self._regular(path)
            end = min(offset + length, int(found.info.meta.size))
            parts = []
            while offset < end:
                try:
                    part = found.read_random(offset, min(READ, end - offset))
                except OSError as error:
                    raise self._said(error, f"{shown(path)} cannot be read at byte {offset}") from None
                if not part:
                    raise BrowseError(f"{shown(path)} ends early, at byte {offset} of {end}")
                parts.append(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @override
    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        with self._lock:
            found = self._regular(path)
            size = int(found.info.meta.size)
            runs = self._runs(found)
        if runs is None:
            yield from [(0, size)] if size else []
            return
        for start, end in runs:
            if start < size:
                yield start, min(end, size)

    def _runs(self, found: Any) -> tuple[tuple[int, int], ...] | None:
        """Data of the file's own stream, None where it is not laid out in plain runs."""
        block = int(self._fs.info.block_size)
        for attribute in found:
            flags = int(attribute.info.flags)
            if attribute.info.name not in (None, b"", b"$Data") or not flags & NON_RESIDENT or flags & COMPRESSED:
                continue
            if int(attribute.info.type) not in (DATA, DEFAULT):
                continue
            runs = [(int(run.offset) * block, int(run.len) * block) for run in attribute if _holds(run)]
            return tuple(joined(sorted((start, start + length) for start, length in runs)))
        return None

    @override
    def attributes(self, path: bytes) -> dict[str, bytes]:
        """These file systems carry none that Linux knows."""
        self.stat(path)
        return {}

    @override
    def close(self) -> None:
        with self._lock:
            self._fs = None


def _entry(entry: Any, at_root: bool) -> Node | None:
    """The node of a folder's entry; None for what a guest would not see there."""
    name, meta = entry.info.name, entry.info.meta
    if name is None or name.name in HIDDEN or not int(name.flags) & ALLOCATED:
        return None
    if at_root and (_of_the_system(name) or name.name.endswith(LABEL)):
        return None
    if meta is None:
        return Node(name=name.name, inode=int(name.meta_addr), mode=0, size=0)
    if int(meta.type) not in KINDS:
        return None
    return _node(name.name, meta)


def _of_the_system(name: Any) -> bool:
    """NTFS keeps its own tables in records 0 to 23; the library adds folders of orphans behind the last one."""
    return name.name.startswith(b"$") and (int(name.meta_addr) < 24 or int(name.type) in VIRTUAL)


def _node(name: bytes, meta: Any) -> Node:
    kind = KINDS.get(int(meta.type), 0)
    return Node(
        name=name,
        inode=int(meta.addr),
        mode=kind | (int(meta.mode) & 0o7777),
        size=int(meta.size),
        links=int(meta.nlink),
        mtime=int(meta.mtime) * 1_000_000_000 + int(meta.mtime_nano),
        atime=int(meta.atime) * 1_000_000_000 + int(meta.atime_nano),
        ctime=int(meta.ctime) * 1_000_000_000 + int(meta.ctime_nano),
        link=meta.link or b"",
    )


def _holds(run: Any) -> bool:
    return not int(run.flags) & (FILLER | SPARSE)
