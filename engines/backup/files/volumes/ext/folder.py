"""Entries of a folder in ext2/3/4, block by block in the disk's order.

Source: Linux, Documentation/filesystems/ext4/directory.rst. A hash tree's inner blocks look like empty entries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engines.backup.files.model import BrowseError, proper, shown
from engines.backup.files.volumes.ext.superblock import FILETYPE

HEAD = struct.Struct("<IHBB")


def entries(raw: bytes, incompat: int, what: str) -> Iterator[tuple[bytes, int]]:
    """(name, inode) of one block of a folder, `.` and `..` left out.

    Raises BrowseError; for a name that no file can have once the others are given.
    """
    at, end = 0, len(raw)
    odd = b""
    typed = bool(incompat & FILETYPE)
    while at + 8 <= end:
        inode, length, name, kind = HEAD.unpack_from(raw, at)
        name = name if typed else name | kind << 8
        length = _length(length, end)
        if length < 8 or length % 4 or at + length > end or 8 + name > length:
            raise BrowseError(f"{what} is damaged at byte {at} of a block")
        if inode and name:
            found = raw[at + 8 : at + 8 + name]
            if not proper(found):
                odd = odd or (found if found.strip(b".") else b"")
            else:
                yield found, inode
        at += length
    if odd:
        raise BrowseError(f"{what} holds a name that no file can have: {shown(odd)}")


def _length(length: int, block: int) -> int:
    """What a 16-bit length means where blocks are 64 KiB."""
    if block < 65536:
        return length
    if length in (0, 65535):
        return block
    return (length & 65532) | (length & 3) << 16
