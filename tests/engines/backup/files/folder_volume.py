"""A local folder as a volume: a second driver, which proves that the interface is one, and a fast one for tests."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from engines.backup.files.model import BrowseError, Node, NoSuchFile, Volume, VolumeInfo, shown
from engines.backup.files.tree import Tree


class FolderVolume:
    """See Volume."""

    driver = "folder"
    state = ""
    default = b""
    subvolumes: Mapping[int, bytes] = MappingProxyType({})

    def __init__(self, root: Path, name: str = "disk") -> None:
        self.root = os.fsencode(root)
        self.info = VolumeInfo(name=name, format="folder", offset=0, size=0)

    def stat(self, path: bytes) -> Node:
        name = path.rpartition(b"/")[2]
        try:
            return self._node(name, os.lstat(self.root + path), self.root + path)
        except FileNotFoundError:
            raise NoSuchFile(f"{shown(path)} is not there") from None
        except OSError as error:
            raise BrowseError(f"{shown(path)}: {error.strerror}") from None

    def _node(self, name: bytes, found: os.stat_result, where: bytes) -> Node:
        return Node(
            name=name,
            inode=found.st_ino,
            mode=found.st_mode,
            size=found.st_size,
            uid=found.st_uid,
            gid=found.st_gid,
            links=found.st_nlink,
            mtime=found.st_mtime_ns,
            atime=found.st_atime_ns,
            ctime=found.st_ctime_ns,
            allocated=found.st_blocks * 512,
            link=os.readlink(where) if stat.S_ISLNK(found.st_mode) else b"",  # noqa: PTH115  bytes
            device=(os.major(found.st_rdev), os.minor(found.st_rdev)),
        )

    def list(self, path: bytes) -> Iterator[Node]:
        with os.scandir(self.root + path) as entries:
            for entry in entries:
                yield self._node(entry.name, entry.stat(follow_symlinks=False), entry.path)

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        with open(self.root + path, "rb", buffering=0) as stream:  # noqa: PTH123  bytes paths
            return os.pread(stream.fileno(), length, offset)

    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        with open(self.root + path, "rb", buffering=0) as stream:  # noqa: PTH123
            at, end = 0, os.fstat(stream.fileno()).st_size
            while at < end:
                try:
                    start = os.lseek(stream.fileno(), at, os.SEEK_DATA)
                except OSError:
                    return
                at = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
                yield start, at

    def attributes(self, path: bytes) -> dict[str, bytes]:
        where = self.root + path
        return {
            name: os.getxattr(where, name, follow_symlinks=False) for name in os.listxattr(where, follow_symlinks=False)
        }

    def close(self) -> None:
        return


def tree(*roots: Path) -> Tree:
    """One folder as a disk, or several as its volumes."""
    volumes: dict[str, Volume] = {
        f"p{at}" if len(roots) > 1 else "disk": FolderVolume(root) for at, root in enumerate(roots, 1)
    }
    infos = tuple(VolumeInfo(name=name, format="folder", offset=0, size=0) for name in volumes)
    return Tree(infos, lambda info: volumes[info.name])
