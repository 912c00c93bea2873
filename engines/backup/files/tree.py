"""A restore point as one folder tree, whichever drivers serve its volumes.

A disk with one file system is that file system; one with several has a folder for each, named as the volume.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator, Mapping

from engines.backup.files.model import BrowseError, Node, NoSuchFile, Volume, VolumeInfo, join, shown
from engines.backup.files.visited import Visited, identity
from engines.job.errors import Failed

LINKS = 40  # followed at most, as Linux does


class Tree:
    """Paths over volumes; each is opened when it is first needed.

    open_volume: gives an opened volume for its info; may start an appliance and take seconds. Used by any number of
    threads, each volume is opened once.
    """

    def __init__(self, infos: tuple[VolumeInfo, ...], open_volume: Callable[[VolumeInfo], Volume]) -> None:
        self.infos: Mapping[str, VolumeInfo] = {info.name: info for info in infos}
        self._open = open_volume
        self._opened: dict[str, Volume] = {}
        self._opening = threading.Lock()

    @property
    def opened(self) -> Mapping[str, Volume]:
        """The volumes that have been opened so far, by name."""
        return self._opened

    @property
    def single(self) -> bool:
        """Whether paths need no volume in front."""
        return len(self.infos) == 1

    def volume(self, path: bytes) -> tuple[Volume, bytes]:
        """The volume that holds `path`, and the path within it. Raises NoSuchFile."""
        if self.single:
            name, inner = next(iter(self.infos)), path
        else:
            first, _, rest = path[1:].partition(b"/")
            name, inner = first.decode("utf-8", "replace"), b"/" + rest
        if name not in self.infos:
            known = ", ".join(self.infos) or "none"
            raise NoSuchFile(f"{shown(path)}: no such volume; there are {known}")
        if name not in self._opened:
            with self._opening:
                if name not in self._opened:
                    self._opened[name] = self._open(self.infos[name])
        return self._opened[name], inner

    def is_top(self, path: bytes) -> bool:
        """Whether `path` is the list of volumes."""
        return not self.single and path == b"/"

    def stat(self, path: bytes) -> Node:
        """The node at `path`; links before its last component are followed. Raises NoSuchFile, BrowseError."""
        if self.is_top(path):
            return _folder(b"", 0)
        volume, inner = self.volume(self._resolved(path))
        return volume.stat(inner)

    def list(self, path: bytes) -> Iterator[Node]:
        """The entries of a folder, or the volumes. Raises NoSuchFile, BrowseError."""
        if self.is_top(path):
            yield from (_folder(info.name.encode(), info.size) for info in self.infos.values())
            return
        volume, inner = self.volume(self.resolve(path))
        yield from volume.list(inner)

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        """Bytes of a regular file, links followed."""
        volume, inner = self.volume(self.resolve(path))
        return volume.read(inner, offset, length)

    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        """Where a file holds data."""
        volume, inner = self.volume(self._resolved(path))
        return volume.extents(inner)

    def attributes(self, path: bytes) -> dict[str, bytes]:
        """Extended attributes. Raises Unsupported where the driver does not carry them."""
        volume, inner = self.volume(self._resolved(path))
        return volume.attributes(inner)

    def walk(self, path: bytes, trouble: Callable[[bytes, Failed], None] | None = None) -> Iterator[tuple[bytes, Node]]:
        """`path` and everything below it, a folder before its entries; links are not followed, a circle of folders
        is entered once. A folder that cannot be listed goes to `trouble`, or is raised where there is none."""
        node = self.stat(path)
        yield path, node
        if not node.is_folder:
            return
        waiting, visited = [path], Visited()
        self._enter(path, node, visited)
        while waiting:
            folder = waiting.pop()
            try:
                for entry in self.list(folder):
                    found = join(folder, entry.name)
                    yield found, entry
                    if entry.is_folder:
                        why = self._enter(found, entry, visited)
                        if not why:
                            waiting.append(found)
                        elif trouble is not None:
                            trouble(found, BrowseError(why))
            except Failed as error:
                if trouble is None:
                    raise
                trouble(folder, error)

    def _enter(self, path: bytes, folder: Node, visited: Visited) -> str:
        """Why a walk does not go into a folder, if so."""
        volume = None if self.is_top(path) else self.volume(path)[0]
        return visited.trouble(path.count(b"/"), identity(volume, folder))

    def resolve(self, path: bytes) -> bytes:
        """`path` with every link followed, the last too, never out of its volume. Raises BrowseError for a loop."""
        return self._resolved(path, last=True)

    def _resolved(self, path: bytes, *, last: bool = False) -> bytes:
        if self.is_top(path):
            return path
        parts = [part for part in path.split(b"/") if part]
        root = [] if self.single else parts[:1]
        done, waiting, followed = list(root), parts[len(root) :], 0
        while waiting:
            part = waiting.pop(0)
            if part == b"..":
                done = done[: max(len(root), len(done) - 1)]
                continue
            here = b"/" + b"/".join([*done, part])
            if waiting or last:
                volume, inner = self.volume(here)
                node = volume.stat(inner)
                if node.is_link:
                    followed += 1
                    if followed > LINKS:
                        raise BrowseError(f"{shown(path)}: too many symbolic links, they may go round in a circle")
                    done = list(root) if node.link.startswith(b"/") else done
                    waiting = [each for each in node.link.split(b"/") if each not in (b"", b".")] + waiting
                    continue
            done.append(part)
        return b"/" + b"/".join(done)

    def close(self) -> None:
        """Let go of every volume."""
        while self._opened:
            self._opened.popitem()[1].close()


def _folder(name: bytes, size: int) -> Node:
    return Node(name=name, inode=0, mode=stat.S_IFDIR | 0o555, size=size)
