"""Whether the checksums of ext4's metadata hold: what the kernel does not believe is not believed here.

Source: Linux, Documentation/filesystems/ext4/checksums.rst; fs/ext4/namei.c for the end of a folder's block.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from engines.backup.files.volumes.ext.crc32c import crc32c, crc32c_blocks

GENERATION = 0x64  # byte of an inode
LOW, EXTRA, HIGH, HIGH_END = 0x7C, 0x80, 0x82, 0x84  # of an inode: its sum in halves, the length of later fields
LINUX = 0  # the creator whose inodes have room for it
TOGETHER = 24  # inodes; fewer are quicker one by one
REMEMBERED = 100_000  # blocks and inodes that held: some 15 MB
IN_ATTRIBUTES = 16  # byte of an attribute block
TAIL = struct.pack("<IHBB", 0, 12, 0, 0xDE)  # an entry that none is, before the checksum


class Sums:
    """Of one file system; `seed` and `creator` are its superblock's. Without a seed there are none: all holds then.

    What held once is not worked out again: the disk stays as it is.
    """

    def __init__(self, seed: int | None, creator: int = LINUX) -> None:
        self._seed = seed
        self._creator = creator
        self._held: set[tuple[int, int]] = set()

    def _own(self, number: int, inode: bytes) -> int:
        """What the checksums of an inode and of its blocks begin with."""
        assert self._seed is not None
        return crc32c(struct.pack("<I", number) + inode[GENERATION : GENERATION + 4], self._seed)

    def _remembered(self, key: tuple[int, int], holds: bool) -> bool:
        if holds:
            if len(self._held) >= REMEMBERED:
                self._held.clear()
            self._held.add(key)
        return holds

    def inode(self, number: int, raw: bytes) -> bool:
        """Of all bytes of an inode."""
        if self._seed is None or self._creator != LINUX or (number, 0) in self._held:
            return True
        plain, wanted, mask = _without(raw)
        return self._remembered((number, 0), crc32c(plain, self._own(number, raw)) & mask == wanted)

    def inodes(self, several: Sequence[tuple[int, bytes]]) -> None:
        """Look at many at once, where that is quicker: `inode` knows then."""
        if self._seed is None or self._creator != LINUX or len(several) < TOGETHER:
            return
        several = [each for each in several if (each[0], 0) not in self._held]
        if not several:
            return
        each = [_without(raw) for _, raw in several]
        seeds = [self._own(number, raw) for number, raw in several]
        found = crc32c_blocks(b"".join(plain for plain, _, _ in each), len(several[0][1]), seeds)
        for (number, _), crc, (_, wanted, mask) in zip(several, found, each, strict=True):
            self._remembered((number, 0), crc & mask == wanted)

    def node(self, inode: tuple[int, bytes], place: int, block: bytes) -> bool:
        """Of a block of an inode's extent tree; `inode` is its number and bytes, `place` the block's number."""
        number, raw = inode
        if self._seed is None or (number, place) in self._held:
            return True
        end = 12 + 12 * int.from_bytes(block[4:6], "little")
        if end + 4 > len(block):
            return False
        wanted = int.from_bytes(block[end : end + 4], "little")
        return self._remembered((number, place), crc32c(block[:end], self._own(number, raw)) == wanted)

    def attributes(self, place: int, block: bytes) -> bool:
        """Of an attribute block, which many files may share; `place` is its number."""
        if self._seed is None or (0, place) in self._held:
            return True
        wanted = int.from_bytes(block[IN_ATTRIBUTES : IN_ATTRIBUTES + 4], "little")
        plain = block[:IN_ATTRIBUTES] + bytes(4) + block[IN_ATTRIBUTES + 4 :]
        return self._remembered((0, place), crc32c(plain, crc32c(struct.pack("<Q", place), self._seed)) == wanted)

    def leaf(self, number: int, inode: bytes, block: bytes) -> bool:
        """Of a block of entries; those of a folder's hash tree hold none, and are not looked at."""
        if self._seed is None or _is_index(block):
            return True
        if block[-12:-4] != TAIL:
            return False
        return crc32c(block[:-12], self._own(number, inode)) == int.from_bytes(block[-4:], "little")


def _without(raw: bytes) -> tuple[bytes, int, int]:
    """An inode with zeros for its checksum, that checksum, and which bits of one are kept."""
    wide = len(raw) > EXTRA and int.from_bytes(raw[EXTRA : EXTRA + 2], "little") >= HIGH_END - EXTRA
    wanted, plain = int.from_bytes(raw[LOW : LOW + 2], "little"), raw[:LOW] + bytes(2) + raw[LOW + 2 :]
    if not wide:
        return plain, wanted, 0xFFFF
    high = int.from_bytes(raw[HIGH:HIGH_END], "little")
    return plain[:HIGH] + bytes(2) + plain[HIGH_END:], wanted | high << 16, 0xFFFFFFFF


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
