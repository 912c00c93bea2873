"""A tree as a file system sees it: by real paths, with fixed inode numbers, asked by many threads at once."""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from engines.backup.files.model import DiskBytes, Node, NoSuchFile, Volume, join, shown
from engines.backup.files.tree import Tree

ENTRIES = 200_000  # nodes kept at hand, as whole folders
FOLDERS = 64
RECENT = 256  # files whose attributes are kept at hand
VOLUME_SHIFT = 56  # bits; inode numbers of volumes beside one another are kept apart above them


@dataclass
class Reads:
    """What was asked of a view so far."""

    reads: int = 0
    bytes: int = 0
    errors: int = 0
    last_error: str = ""
    changed: threading.Event = field(default_factory=threading.Event)

    def read(self, count: int) -> None:
        """A read that was answered."""
        self.reads += 1
        self.bytes += count
        self.changed.set()

    def failed(self, why: str) -> None:
        """A read that was not."""
        self.errors += 1
        self.last_error = why
        self.changed.set()


class View:
    """Nothing changes in a point, so what was seen once is kept. Drivers are asked by one thread at a time each.

    Every method raises NoSuchFile, BrowseError, Damaged, Missing.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._lock = threading.Lock()
        self._locks: dict[int, threading.Lock] = {}
        self._folders: OrderedDict[bytes, dict[bytes, Node]] = OrderedDict()
        self._attributes: OrderedDict[bytes, dict[str, bytes]] = OrderedDict()
        self._order = {name: at for at, name in enumerate(tree.infos)}

    def _volume(self, path: bytes) -> tuple[Volume, bytes, threading.Lock]:
        with self._lock:
            volume, inner = self._tree.volume(path)
            return volume, inner, self._locks.setdefault(id(volume), threading.Lock())

    def node(self, path: bytes) -> Node:
        """What is at a real path."""
        above, _, name = path.rpartition(b"/")
        with self._lock:
            known = self._folders.get(above or b"/")
        if name and known is not None:
            if name not in known:
                raise NoSuchFile(f"{shown(path)} is not there")
            return known[name]
        if self._tree.is_top(path):
            return self._tree.stat(path)
        volume, inner, lock = self._volume(path)
        with lock:
            return volume.stat(inner)

    def folder(self, path: bytes) -> dict[bytes, Node]:
        """What is in a folder, by name."""
        with self._lock:
            if path in self._folders:
                self._folders.move_to_end(path)
                return self._folders[path]
        if self._tree.is_top(path):
            found = {node.name: node for node in self._tree.list(path)}
        else:
            volume, inner, lock = self._volume(path)
            with lock:
                found = {node.name: node for node in volume.list(inner)}
        with self._lock:
            self._folders[path] = found
            self._shrink()
        return found

    def _shrink(self) -> None:
        def entries() -> int:
            return sum(len(folder) for folder in self._folders.values())

        while len(self._folders) > FOLDERS or (len(self._folders) > 1 and entries() > ENTRIES):
            self._folders.popitem(last=False)

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        """Bytes of a file; less only at its end."""
        volume, inner, lock = self._volume(path)
        parts = []
        with lock:
            while length > 0:
                part = volume.read(inner, offset, length)
                if not part:
                    break
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def link(self, path: bytes) -> bytes:
        """Where a symbolic link points to, as stored."""
        node = self.node(path)
        if node.link or not node.is_link:
            return node.link
        volume, inner, lock = self._volume(path)
        with lock:
            return volume.stat(inner).link

    def attributes(self, path: bytes) -> dict[str, bytes]:
        """Extended attributes; none of the list of volumes."""
        if self._tree.is_top(path):
            return {}
        with self._lock:
            known = self._attributes.get(path)
        if known is not None:  # `ls -l` asks for three of each file
            return known
        volume, inner, lock = self._volume(path)
        with lock:
            found = volume.attributes(inner)
        with self._lock:
            self._attributes[path] = found
            while len(self._attributes) > RECENT:
                self._attributes.popitem(last=False)
        return found

    def inode(self, path: bytes, node: Node) -> int:
        """The same number for the same file whenever it is asked for; never 0."""
        if self._tree.is_top(path):
            return 1
        if self._tree.single:
            return node.inode or 1
        name, _ = self._tree.located(path)
        return node.inode ^ ((self._order.get(name, 0) + 1) << VOLUME_SHIFT)


class ImageView:
    """A disk as a folder with one file in it."""

    def __init__(self, name: bytes, source: DiskBytes, made: int) -> None:
        self._source = source
        self._root = Node(name=b"", inode=1, mode=stat.S_IFDIR | 0o500, size=0, links=2, mtime=made, ctime=made)
        self._file = Node(name=name, inode=2, mode=stat.S_IFREG | 0o400, size=source.size, mtime=made, ctime=made)
        self.path = join(b"/", name)

    def node(self, path: bytes) -> Node:
        """The folder or the file."""
        if path not in (b"/", self.path):
            raise NoSuchFile(f"{shown(path)} is not there")
        return self._root if path == b"/" else self._file

    def folder(self, path: bytes) -> dict[bytes, Node]:  # noqa: ARG002  there is one
        """The file."""
        return {self._file.name: self._file}

    def read(self, path: bytes, offset: int, length: int) -> bytes:  # noqa: ARG002
        """Bytes of the disk."""
        return self._source.read(offset, length)

    def link(self, path: bytes) -> bytes:  # noqa: ARG002
        """There is none."""
        return b""

    def attributes(self, path: bytes) -> dict[str, bytes]:  # noqa: ARG002
        """There are none."""
        return {}

    def inode(self, path: bytes, node: Node) -> int:  # noqa: ARG002
        """1 and 2."""
        return node.inode
