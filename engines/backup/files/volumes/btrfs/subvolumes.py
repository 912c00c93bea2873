"""The subvolumes of a btrfs, each by its id, with the folder that it is in the whole of it, and when that was made."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.btrfs.trees import LAST, ROOTS, Key, Trees
from engines.backup.files.volumes.window import Window

BACKWARD = 144  # a subvolume's parent
NAME_IN = 12  # an inode's folder
INODE = 1
TOP, FIRST_INODE = 5, 256
LEVELS = 256  # of folders, and of subvolumes that lie in one another
NAME = 255  # bytes, as Linux has it
DEEPEST = 4096  # bytes of a path, as Linux has it
MOST = 10_000
ALL = 8 << 20  # bytes of all paths: each is held, and shown by its name
MADE = 148  # byte of an inode's own time


def found(part: Window) -> dict[int, bytes]:
    """By id, the path from the top; what lies in a subvolume that was deleted is left out. Raises BrowseError."""
    trees = Trees(part)
    above = dict[int, tuple[int, int, bytes]]()
    for (number, kind, parent), raw in trees.items(ROOTS, (FIRST_INODE, BACKWARD, 0)):
        if kind == BACKWARD and len(raw) >= 18:
            above[number] = parent, struct.unpack_from("<Q", raw)[0], _name(raw[18:], raw[16:18])
        if len(above) > MOST:
            raise BrowseError(f"btrfs: more than {MOST} subvolumes")
    return _Paths(trees, above).all()


def _name(raw: bytes, length: bytes) -> bytes:
    name = raw[: int.from_bytes(length, "little")]
    if not 0 < len(name) <= NAME or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise BrowseError("btrfs: its trees hold names that are none")
    return name


def bounded(paths: Iterable[bytes]) -> None:
    """Raises BrowseError for more, or longer ones, than a real system has: they are kept in memory."""
    count = total = 0
    for path in paths:
        count, total = count + 1, total + len(path)
        if count > MOST or total > ALL or len(path) > DEEPEST:
            raise BrowseError(f"btrfs: its subvolumes are more than {MOST}, or lie too deep to be listed")


class _Paths:
    """Of the subvolumes that `above` has: their parent, the inode of their folder in it, and their name there."""

    def __init__(self, trees: Trees, above: dict[int, tuple[int, int, bytes]]) -> None:
        self._trees = trees
        self._above = above
        self._paths: dict[int, bytes | None] = {TOP: b""}  # None where it leads to no top
        self._folders: dict[tuple[int, int], bytes] = {}
        self._held = 0  # bytes of both

    def all(self) -> dict[int, bytes]:
        for number in self._above:
            self._find(number)
        return {number: path for number, path in self._paths.items() if path}

    def _find(self, number: int) -> None:
        chain = dict[int, None]()
        while number not in self._paths and number in self._above and number not in chain:
            chain[number] = None
            number = self._above[number][0]
            if len(chain) > LEVELS:
                raise BrowseError(f"btrfs: more than {LEVELS} subvolumes lie in one another")
        path = self._paths.get(number)
        for each in reversed(chain):
            parent, folder, name = self._above[each]
            if path is not None:
                path = self._kept(path + self._folder(parent, folder) + b"/" + name)
            self._paths[each] = path

    def _kept(self, path: bytes) -> bytes:
        self._held += len(path)
        if len(path) > DEEPEST or self._held > ALL:
            raise BrowseError("btrfs: its subvolumes lie too deep to be listed")
        return path

    def _folder(self, tree: int, inode: int) -> bytes:
        """Of a folder's inode, its path within its own subvolume."""
        parts, passed = list[bytes](), list[int]()
        while inode != FIRST_INODE and (tree, inode) not in self._folders:
            if len(parts) == LEVELS:
                raise BrowseError(f"btrfs: folders of tree {tree} lie in a circle, or too deep")
            low: Key = (inode, NAME_IN, 0)
            row = next(self._trees.items(tree, low, (inode, NAME_IN, LAST[2])), None)
            if row is None:
                raise BrowseError(f"btrfs: folder {inode} of tree {tree} has no name")
            (_, _, parent), raw = row
            parts.append(_name(raw[10:], raw[8:10]))
            passed.append(inode)
            inode = parent
        path = self._folders.get((tree, inode), b"")
        for each, part in zip(reversed(passed), reversed(parts), strict=True):
            path = self._folders[tree, each] = self._kept(path + b"/" + part)
        return path


def made(part: Window) -> int | None:
    """When it was made, in s since 1970; None where mkfs did not note it. Raises BrowseError where it is no more."""
    row = next(Trees(part).items(TOP, (FIRST_INODE, INODE, 0), (FIRST_INODE, INODE, 0)), None)
    if row is None:
        raise BrowseError("btrfs: it has no top folder")
    return struct.unpack_from("<q", row[1], MADE)[0] or None if len(row[1]) >= MADE + 8 else None
