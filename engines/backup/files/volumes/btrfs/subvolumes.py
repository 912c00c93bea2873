"""The subvolumes of a btrfs, each by its id, with the folder that it is in the whole of it, and when that was made."""

from __future__ import annotations

import struct

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.btrfs.trees import LAST, ROOTS, Key, Trees
from engines.backup.files.volumes.window import Window

BACKWARD = 144  # a subvolume's parent
NAME_IN = 12  # an inode's folder
INODE = 1
TOP, FIRST_INODE = 5, 256
LEVELS = 256  # of folders
MADE = 148  # byte of an inode's own time


def found(part: Window) -> dict[int, bytes]:
    """By id, the path from the top; what lies in a subvolume that was deleted is left out. Raises BrowseError."""
    trees = Trees(part)
    above = dict[int, tuple[int, int, bytes]]()
    for (number, kind, parent), raw in trees.items(ROOTS, (FIRST_INODE, BACKWARD, 0)):
        if kind == BACKWARD and len(raw) >= 18:
            folder, _, length = struct.unpack_from("<QQH", raw)
            above[number] = parent, folder, raw[18 : 18 + length]
    paths = {TOP: b""}
    for number in above:
        _path(trees, number, above, paths)
    return {number: path for number, path in paths.items() if path}


def _path(trees: Trees, number: int, above: dict[int, tuple[int, int, bytes]], paths: dict[int, bytes]) -> bytes:
    """Empty where it leads to no top."""
    chain = list[int]()
    while number not in paths and number in above and number not in chain:
        chain.append(number)
        number = above[number][0]
    path = paths.get(number, b"")
    lost = number not in paths or (not path and number != TOP)
    for each in reversed(chain):
        parent, folder, name = above[each]
        if not lost:
            path += _folder(trees, parent, folder) + b"/" + name
        paths[each] = b"" if lost else path
    return path


def _folder(trees: Trees, tree: int, inode: int) -> bytes:
    """Of a folder's inode, its path within its own subvolume."""
    parts = list[bytes]()
    while inode != FIRST_INODE and len(parts) < LEVELS:
        low: Key = (inode, NAME_IN, 0)
        row = next(trees.items(tree, low, (inode, NAME_IN, LAST[2])), None)
        if row is None:
            raise BrowseError(f"btrfs: folder {inode} of tree {tree} has no name")
        (_, _, parent), raw = row
        length = struct.unpack_from("<H", raw, 8)[0] if len(raw) >= 10 else 0
        parts.append(raw[10 : 10 + length])
        inode = parent
    return b"".join(b"/" + part for part in reversed(parts))


def made(part: Window) -> int | None:
    """When it was made, in s since 1970; None where mkfs did not note it. Raises BrowseError where it is no more."""
    row = next(Trees(part).items(TOP, (FIRST_INODE, INODE, 0), (FIRST_INODE, INODE, 0)), None)
    if row is None:
        raise BrowseError("btrfs: it has no top folder")
    return struct.unpack_from("<q", row[1], MADE)[0] or None if len(row[1]) >= MADE + 8 else None
