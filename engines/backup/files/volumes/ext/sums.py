"""Whether the checksum of a folder's block holds in ext4: where it does not, the kernel shows none of its names.

Source: Linux, Documentation/filesystems/ext4/checksums.rst; fs/ext4/namei.c for the end of a folder's block.
"""

from __future__ import annotations

import struct

from engines.backup.files.volumes.ext.crc32c import crc32c

GENERATION = 0x64  # byte of an inode
TAIL = struct.pack("<IHBB", 0, 12, 0, 0xDE)  # an entry that none is, before the checksum


class Sums:
    """Of one file system; `seed` is its superblock's, None where it has no checksums: everything holds then."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed

    def leaf(self, number: int, inode: bytes, block: bytes) -> bool:
        """Of a block of entries; those of a folder's hash tree hold none, and are not looked at."""
        if self._seed is None or _is_index(block):
            return True
        if block[-12:-4] != TAIL:
            return False
        own = crc32c(struct.pack("<I", number) + inode[GENERATION : GENERATION + 4], self._seed)
        return crc32c(block[:-12], own) == int.from_bytes(block[-4:], "little")


def _is_index(block: bytes) -> bool:
    """Whether it is of a hash tree: its top has `.` and a `..` that goes on to the end, its nodes one empty entry."""
    inode, length, name = struct.unpack_from("<IHB", block)
    whole = len(block) & 0xFFFF
    if not inode and length in (whole, 0xFFFF) and not name:
        return True
    beyond = len(block) - 12
    return (
        length == 12 and struct.unpack_from("<H", block, 16)[0] in (beyond, _packed(beyond)) and block[20:22] == b".."
    )


def _packed(length: int) -> int:
    """How a length beyond 16 bits is kept where blocks are 64 KiB."""
    return length & 0xFFFC | length >> 16 & 3
