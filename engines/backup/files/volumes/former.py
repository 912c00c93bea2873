"""Whether a copy of a superblock is of the file system that is on the disk, or of one that was there before it.

mkfs of one leaves the other's copies: what it writes over is the beginning, and what lies there tells. Sources: the
kernel's fs/btrfs/fs.h (the first MiB is never used) and fs/xfs/libxfs/xfs_format.h (xfs_dinode, inode numbers).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from engines.backup.files.volumes import copies
from engines.backup.files.volumes.btrfs import subvolumes
from engines.backup.files.volumes.ext.superblock import Superblock
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

PLACES = 12  # bytes of a group descriptor: where its bitmaps and inodes lie, which nothing changes


def btrfs_follows_ext(part: Window, found: Superblock) -> bool:
    """Whether a btrfs whose first superblock is gone was made over the ext that `found` is a copy of."""
    if not found.group or not copies.btrfs_copy(part) or _ext_begins(part, found):
        return False
    try:
        made = subvolumes.made(part)
    except Failed:
        return False
    return made is None or made >= found.made


def _ext_begins(part: Window, found: Superblock) -> bool:
    """Whether the first group is described at the beginning as it is beside the copy."""
    first = part.read(replace(found, group=0).descriptor(0), PLACES)
    return any(first) and first == part.read(found.descriptor(0), PLACES)


def btrfs_follows_xfs(part: Window, copy: bytes) -> bool:
    """The same for an XFS of which `copy` is a superblock."""
    if not copies.btrfs_copy(part) or _xfs_begins(part, copy):
        return False
    try:
        subvolumes.made(part)
    except Failed:
        return False
    return True


def _xfs_begins(part: Window, copy: bytes) -> bool:
    """Whether its top folder's inode is there."""
    root = struct.unpack_from(">Q", copy, 56)[0]
    size = struct.unpack_from(">H", copy, 104)[0]
    block = struct.unpack_from(">I", copy, 4)[0]
    per = copy[123]  # the power of two of inodes in a block
    return part.read((root >> per) * block + (root & (1 << per) - 1) * size, 2) == b"IN"
