"""Which files differ between two trees, found by metadata first: what a file system calls unchanged is not read.

A file counts as unchanged where inode, type, size, mtime and ctime are equal, in ns where the file system has them;
any other of the same size is read on both sides up to the first byte that differs.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from engines.backup.errors import Damaged, Missing
from engines.backup.files.contents import CHUNK
from engines.backup.files.model import BrowseError, Node, NoSuchFile, Unsupported, Volume, join, shown
from engines.backup.files.ranges import joined
from engines.backup.files.tree import Tree
from engines.backup.files.visited import Visited, identity

Told = Callable[[bytes, str], None]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `how`: of a changed one, what is other: type, size, content, mode, owner, time, link, attributes."""

    path: bytes
    what: Literal["added", "removed", "changed"]
    how: tuple[str, ...] = ()
    before: Node | None = None
    after: Node | None = None


class Comparison:
    """Of `old` and `new`. same: volumes, by name, that need not be looked at. told: hears what cannot be read."""

    def __init__(self, old: Tree, new: Tree, same: set[str], told: Told) -> None:
        self.read = 0  # bytes
        self._old = old
        self._new = new
        self._same = same
        self._told = told
        self._visited = Visited()

    def run(self, path: bytes) -> Iterator[Difference]:
        """Below `path`, folders before what is in them. Raises NoSuchFile where neither side has it, BrowseError."""
        before, after = self._node(self._old, path), self._node(self._new, path)
        if before is None and after is None:
            raise NoSuchFile(f"{shown(path)} is in neither of the two")
        waiting = [(path, before, after)]
        while waiting:
            path, before, after = waiting.pop()
            if self._is_same(path):
                waiting += self._joined(path)
                continue
            yield from self._one(path, before, after)
            old, new = (node is not None and node.is_folder for node in (before, after))
            if (old or new) and self._fresh(path, before if old else None, after if new else None):
                waiting += reversed(list(self._within(path, old=old, new=new)))

    def _node(self, tree: Tree, path: bytes) -> Node | None:
        """Raises BrowseError where a link leads there: the two sides would mean different paths."""
        try:
            real = join(tree.resolve(posixpath.dirname(path)), posixpath.basename(path)) if path != b"/" else path
            if real != path:
                raise BrowseError(f"{shown(path)} is {shown(real)} by a symbolic link; compare that")
            return tree.stat(path)
        except NoSuchFile:
            return None

    def _one(self, path: bytes, before: Node | None, after: Node | None) -> Iterator[Difference]:
        if before and after:
            how = tuple(self._how(path, before, after))
            if how:
                yield Difference(path=path, what="changed", how=how, before=before, after=after)
        else:
            yield Difference(path=path, what="added" if after else "removed", before=before, after=after)

    def _is_same(self, path: bytes) -> bool:
        """Whether it lies on both sides in one volume that is the same, at one place there."""
        try:
            places = {tree.located(path) for tree in (self._old, self._new) if not tree.is_top(path)}
        except BrowseError:
            return False
        return len(places) == 1 and places.pop()[0] in self._same

    def _joined(self, path: bytes) -> Iterator[tuple[bytes, Node | None, Node | None]]:
        """What the guest mounts below a folder that need not be looked at itself."""
        below = {each.point for tree in (self._old, self._new) if (own := tree.known) for each in own.below(path)}
        for point in sorted(below):
            if not self._is_same(point):
                yield point, self._node(self._old, point), self._node(self._new, point)

    def _fresh(self, path: bytes, before: Node | None, after: Node | None) -> bool:
        """Whether a folder is no circle: no pair of folders is gone into twice."""
        sides = ((self._old, before), (self._new, after))
        pair = [identity(self._volume(tree, path), node, tree.mount(path)) for tree, node in sides]
        why = self._old.stops(path) or self._new.stops(path) or self._visited.trouble(path.count(b"/"), *pair)
        if why:
            self._told(path, why)
        return not why

    def _volume(self, tree: Tree, path: bytes) -> Volume | None:
        return None if tree.is_top(path) else tree.volume(path)[0]

    def _within(self, path: bytes, *, old: bool, new: bool) -> Iterator[tuple[bytes, Node | None, Node | None]]:
        before = self._listed(self._old, path) if old else {}
        after = self._listed(self._new, path) if new else {}
        for name in [*before, *(name for name in after if name not in before)]:
            yield join(path, name), before.get(name), after.get(name)

    def _listed(self, tree: Tree, path: bytes) -> dict[bytes, Node]:
        found: dict[bytes, Node] = {}
        try:
            if tree.is_top(path):
                return {node.name: node for node in tree.inside(path)}
            volume, inner = tree.volume(path)
            for node in volume.list(inner):
                found[node.name] = node
        except (BrowseError, Damaged, Missing) as error:
            self._told(path, f"cannot be listed to its end: {error.why}")
        return found

    def _how(self, path: bytes, before: Node, after: Node) -> Iterator[str]:
        if stat.S_IFMT(before.mode) != stat.S_IFMT(after.mode):
            yield "type"
            return
        if before.mode != after.mode:
            yield "mode"
        if (before.uid, before.gid) != (after.uid, after.gid):
            yield "owner"
        if before.is_folder:
            return
        if before.mtime != after.mtime:
            yield "time"
        if (before.link, before.device) != (after.link, after.device):
            yield "link" if before.is_link else "device"
        if before.is_file and not _unchanged(before, after):
            yield from self._content(path, before, after)

    def _content(self, path: bytes, before: Node, after: Node) -> Iterator[str]:
        if before.size != after.size:
            yield "size"
        try:
            (old, old_path), (new, new_path) = self._old.volume(path), self._new.volume(path)
            if before.size == after.size and not self._equal(old, old_path, new, new_path, before.size):
                yield "content"
            if before.ctime != after.ctime and _attributes(old, old_path) != _attributes(new, new_path):
                yield "attributes"
        except (BrowseError, Damaged, Missing) as error:
            self._told(path, f"cannot be compared: {error.why}")
            yield "content"

    def _equal(self, old: Volume, old_path: bytes, new: Volume, new_path: bytes, size: int) -> bool:
        for start, end in joined(sorted([*_spans(old, old_path, size), *_spans(new, new_path, size)])):
            at = start
            while at < end:
                length = min(CHUNK - at % CHUNK, end - at)
                before, after = old.read(old_path, at, length), new.read(new_path, at, length)
                self.read += len(before) + len(after)
                if before != after or not before:
                    return False
                at += len(before)
        return True


def _unchanged(before: Node, after: Node) -> bool:
    return (before.inode, before.size, before.mtime, before.ctime) == (
        after.inode,
        after.size,
        after.mtime,
        after.ctime,
    )


def _attributes(volume: Volume, path: bytes) -> dict[str, bytes]:
    try:
        return volume.attributes(path)
    except Unsupported:
        return {}


def _spans(volume: Volume, path: bytes, size: int) -> list[tuple[int, int]]:
    try:
        return list(volume.extents(path))
    except Unsupported:
        return [(0, size)]
