"""A folder of this machine as a volume: names and lengths that no test image could be made with in time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engines.backup.files.model import BrowseError, Node, NoSuchFile, VolumeInfo


class HostVolume:
    """See Volume."""

    driver = "quick"

    def __init__(self, root: bytes, state: str = "") -> None:
        self.root = root
        self.state = state
        self.info = VolumeInfo(name="p1", format="ext4", offset=0, size=1 << 30, dirty=state, drivers=("quick",))

    def _at(self, path: bytes) -> bytes:
        return self.root + path

    def stat(self, path: bytes) -> Node:
        try:
            return _node(self._at(path), path.rpartition(b"/")[2], os.lstat(self._at(path)))
        except OSError as error:
            raise NoSuchFile(str(error)) from None

    def list(self, path: bytes) -> Iterator[Node]:
        try:
            with os.scandir(self._at(path)) as found:
                for entry in found:
                    yield _node(entry.path, entry.name, entry.stat(follow_symlinks=False))
        except OSError as error:
            raise BrowseError(str(error)) from None

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        with Path(os.fsdecode(self._at(path))).open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)

    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        yield 0, self.stat(path).size

    def attributes(self, path: bytes) -> dict[str, bytes]:
        return {}

    def close(self) -> None:
        return


def _node(path: bytes, name: bytes, told: os.stat_result) -> Node:
    link = os.fsencode(Path(os.fsdecode(path)).readlink()) if (told.st_mode & 0o170000) == 0o120000 else b""
    return Node(name=name, inode=told.st_ino, mode=told.st_mode, size=told.st_size, mtime=told.st_mtime_ns, link=link)


class Replayed(HostVolume):
    """The same as an appliance serves it."""

    driver = "libguestfs"


class Crowded(HostVolume):
    """The same with one folder more, /many, of `count` files that are on no disk."""

    def __init__(self, root: bytes, count: int) -> None:
        super().__init__(root)
        self.count = count

    def stat(self, path: bytes) -> Node:
        return _made(b"many", 0o40755) if path == b"/many" else super().stat(path)

    def list(self, path: bytes) -> Iterator[Node]:
        if path != b"/many":
            yield from super().list(path)
            yield from [_made(b"many", 0o40755)] if path == b"/" else []
            return
        for at in range(self.count):
            yield _made(f"entry-{(at * 7919) % self.count:06}".encode(), 0o100644, at)


def _made(name: bytes, mode: int, size: int = 0) -> Node:
    return Node(name=name, inode=size + 1, mode=mode, size=size, mtime=1_790_000_000_000_000_000)
