"""Where files wait under temporary names until a batch of them is on the disk: then each is renamed into place."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from engines.backup.files.selection import SelectedFile
from engines.backup.files.taking.destination import NEW, Destination, split
from engines.backup.files.taking.record import Kind, TakenFile, TakenList
from engines.job.errors import Refused

PREFIX = b".crashcart-get-"
LIST = b"taken"
FULL = (errno.ENOSPC, errno.EDQUOT)
BATCH = 512  # files
HEAVY = 64 * 1024 * 1024  # bytes of a batch
FEW = 8  # files that are synced one by one; for more, one sync of the file system costs less


@dataclass(eq=False)
class Staged:
    """A file that is ready. at: where it is now, below the destination; empty once it was dropped."""

    entry: SelectedFile
    at: bytes
    place: bytes
    replace: bool
    kind: Kind
    inode: int
    size: int
    mtime: int

    def taken(self) -> TakenFile:
        """Its line in the record."""
        return TakenFile(self.kind, self.inode, self.size, self.mtime, self.entry.source, self.place)


class Staging:
    """A hidden folder in the destination, closed to others; what a killed run left in it is removed at the start."""

    def __init__(self, destination: Destination, run: str, *, fresh: bool = False) -> None:
        """fresh: a folder that is there already is not this run's. Raises OSError, Refused."""
        self.name = PREFIX + run.encode()
        self._destination = destination
        self._count = 0
        self._waiting: list[Staged | Callable[[], None]] = []
        self._heavy = 0
        if destination.seen(self.name) is None:
            destination.make(self.name)
        elif fresh:  # a user who knew its name, or a run of that name in another home, on another host
            raise Refused(
                f"{self.name.decode()} lies in {destination.path} already, and is not of this run",
                "see whose it is, and start again",
            )
        self._sweep()
        self.record = TakenList(destination.folder(self.name), LIST)

    def _sweep(self) -> None:
        with os.scandir(self.folder()) as entries:
            names = [os.fsencode(entry.name) for entry in entries]
        for name in names:
            if name != LIST:
                self.discard(name)

    def folder(self) -> int:
        """Its descriptor, good until the next folder is opened."""
        return self._destination.folder(self.name)

    def fresh(self) -> bytes:
        """A temporary name that is free, within this folder."""
        self._count += 1
        return b"%d" % self._count

    def open(self) -> tuple[bytes, int]:
        """A new empty file: its name and descriptor."""
        name = self.fresh()
        return name, os.open(name, NEW, 0o600, dir_fd=self.folder())

    def add(self, entry: SelectedFile, name: bytes, place: bytes, *, replace: bool) -> Staged:
        """Have it renamed to `place` with its batch."""
        found = self.seen(name)
        staged = Staged(
            entry,
            self.name + b"/" + name,
            place,
            replace,
            "file" if entry.node.is_file else "other",
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
        )
        self._waiting.append(staged)
        self._heavy += found.st_blocks * 512
        return staged

    def seen(self, name: bytes) -> os.stat_result:
        """What a temporary name is now."""
        return os.stat(name, dir_fd=self.folder(), follow_symlinks=False)

    def after(self, work: Callable[[], None]) -> None:
        """Have `work` done once everything before it is in place."""
        self._waiting.append(work)

    @property
    def due(self) -> bool:
        """Whether the batch is large enough."""
        return len(self._waiting) >= BATCH or self._heavy >= HEAVY

    def flush(self) -> Iterator[Staged]:
        """Have the batch on the disk and in the record, then give each file for placing, in order. Raises OSError."""
        files = [each for each in self._waiting if isinstance(each, Staged)]
        self._sync(files)
        self.record.add((each.taken() for each in files), durable=True)
        while self._waiting:
            first = self._waiting.pop(0)
            if isinstance(first, Staged):
                yield first
            else:
                first()
        self._heavy = 0

    def _sync(self, files: list[Staged]) -> None:
        contents = [each for each in files if each.kind == "file"]
        if len(contents) > FEW:
            self._destination.flush()
            return
        try:
            for each in contents:
                self._sync_one(split(each.at)[1])
        except PermissionError:  # a file that its owner may not read
            self._destination.flush()

    def _sync_one(self, name: bytes) -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder())
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self, name: bytes) -> None:
        """Remove one that is not wanted after all."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder())

    def abandon(self) -> None:
        """Remove what waits; the record stays for those who take it up. Never raises OSError."""
        self._waiting.clear()
        with suppress(OSError):
            self._sweep()

    def close(self) -> None:
        """Let go of the record."""
        self.record.close()

    def remove(self) -> None:
        """Take it away, the record too: the work is done. Raises OSError."""
        self.record.close()  # an open file keeps its folder from going where FUSE or NFS hold it
        self._sweep()
        os.unlink(LIST, dir_fd=self.folder())
        self._destination.remove(self.name)
