"""The superblock of ext2/3/4: geometry, features and where a group keeps its inodes.

Source: Linux, Documentation/filesystems/ext4 (super.rst, group_descr.rst, blockgroup.rst).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from engines.backup.files.model import BrowseError, Unsupported
from engines.backup.files.volumes.ext.crc32c import crc32c
from engines.backup.files.volumes.window import Window

START = 1024  # bytes into the file system
SIZE = 1024
MAGIC = 0xEF53
MAGIC_RAW = b"\x53\xef"
SEARCHED = 512 << 20  # bytes of a disk so small that it is looked through for a copy
FARTHEST = 136 << 20  # bytes; the second group of the largest usual blocks begins before
PIECE = 4 << 20

HAS_JOURNAL = 0x4  # compatible features
SPARSE_SUPER2 = 0x200
ORPHAN_FILE = 0x1000
FILETYPE, RECOVER, JOURNAL_DEVICE, META_BG, EXTENTS, BITS_64 = 0x2, 0x4, 0x8, 0x10, 0x40, 0x80  # incompatible ones
MMP, FLEX_BG, EA_INODE, CSUM_SEED, LARGEDIR, INLINE, ENCRYPT, CASEFOLD = (
    0x100,
    0x200,
    0x400,
    0x2000,
    0x4000,
    0x8000,
    0x10000,
    0x20000,
)
KNOWN = FILETYPE | RECOVER | META_BG | EXTENTS | BITS_64 | MMP | FLEX_BG | EA_INODE | CSUM_SEED
KNOWN |= LARGEDIR | INLINE | ENCRYPT | CASEFOLD
SPARSE_SUPER, ORPHAN_PRESENT = 0x1, 0x10000  # read-only compatible features
HUGE_FILE, CHECKSUMS = 0x8, 0x400
CLEAN = 0x1  # s_state


@dataclass(frozen=True)
class Superblock:
    """Sizes in bytes, positions in blocks. group: whose copy this is, 0 for the first one. made: by mkfs,
    s since 1970. seed: of the checksums of metadata, None where there are none."""

    inodes: int
    blocks: int
    block: int
    first_data: int
    blocks_per_group: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    first_meta_bg: int
    compat: int
    incompat: int
    ro_compat: int
    state: int
    last_orphan: int
    journal_inode: int
    backup_groups: tuple[int, int]
    uuid: str
    label: str
    creator: int
    revision: int
    group: int = 0
    made: int = 0
    seed: int | None = None

    @property
    def own_block(self) -> int:
        """The block that holds the superblock of group 0: with clusters of 1 KiB blocks it is not the first one."""
        return max(self.first_data, 1 if self.block == 1024 else 0)

    @property
    def format(self) -> str:
        """ext2, ext3 or ext4, as blkid names it."""
        if self.incompat & ~(FILETYPE | RECOVER | META_BG) or self.ro_compat & ~0x7:
            return "ext4"
        return "ext3" if self.compat & HAS_JOURNAL else "ext2"

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal holds what is not yet in place."""
        return bool(self.incompat & RECOVER)

    def has_copy(self, group: int) -> bool:
        """Whether a group begins with a copy of the superblock."""
        if group == 0:
            return True
        if self.compat & SPARSE_SUPER2:
            return group in self.backup_groups
        if not self.ro_compat & SPARSE_SUPER or group == 1:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))

    def descriptor(self, group: int) -> int:
        """Where the descriptor of a group lies, in bytes."""
        per_block = self.block // self.descriptor_size
        meta, within = divmod(group, per_block)
        if self.incompat & META_BG and meta >= self.first_meta_bg:
            first = meta * per_block
            place = self.first_data + first * self.blocks_per_group + self.has_copy(first)
            place += not first and self.own_block - self.first_data
        else:
            own = self.first_data + self.group * self.blocks_per_group if self.group else self.own_block
            place = own + 1 + meta
        return place * self.block + within * self.descriptor_size


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def parse(raw: bytes) -> Superblock | None:
    """From the 1024 bytes at START; None where they are no superblock. Raises BrowseError for an impossible one."""
    if len(raw) < SIZE or _u16(raw, 0x38) != MAGIC:
        return None
    log_block = _u32(raw, 0x18)
    if log_block > 6:
        raise BrowseError(f"the ext superblock names blocks of 2^{10 + log_block} bytes, 64 KiB is the most")
    incompat, revision = _u32(raw, 0x60), _u32(raw, 0x4C)
    old = revision == 0
    wide = bool(incompat & BITS_64)
    found = Superblock(
        inodes=_u32(raw, 0),
        blocks=_u32(raw, 4) | (_u32(raw, 0x150) << 32 if wide else 0),
        block=1024 << log_block,
        first_data=_u32(raw, 0x14),
        blocks_per_group=_u32(raw, 0x20),
        inodes_per_group=_u32(raw, 0x28),
        inode_size=128 if old else _u16(raw, 0x58),
        descriptor_size=(_u16(raw, 0xFE) or 32) if wide else 32,
        first_meta_bg=_u32(raw, 0x104),
        compat=_u32(raw, 0x5C),
        incompat=incompat,
        ro_compat=_u32(raw, 0x64),
        state=_u16(raw, 0x3A),
        last_orphan=_u32(raw, 0xE8),
        journal_inode=_u32(raw, 0xE0),
        backup_groups=(_u32(raw, 0x24C), _u32(raw, 0x250)),
        uuid=str(uuid.UUID(bytes=raw[0x68:0x78])),
        label=raw[0x78:0x88].split(b"\0")[0].decode("utf-8", "replace"),
        creator=_u32(raw, 0x48),
        revision=revision,
        group=_u16(raw, 0x5A) if revision else 0,
        made=_u32(raw, 0x108) | raw[0x276] << 32,
        seed=_seed(raw, incompat),
    )
    return _checked(found)


def _seed(raw: bytes, incompat: int) -> int | None:
    """What the checksums of metadata begin with, where there are any."""
    if not _u32(raw, 0x64) & CHECKSUMS:
        return None
    return _u32(raw, 0x270) if incompat & CSUM_SEED else crc32c(raw[0x68:0x78])


def _checked(found: Superblock) -> Superblock:
    wrong = ""
    if not 128 <= found.inode_size <= found.block or found.inode_size & (found.inode_size - 1):
        wrong = f"inodes of {found.inode_size} bytes"
    elif not 32 <= found.descriptor_size <= min(1024, found.block) or found.block % found.descriptor_size:
        wrong = f"group descriptors of {found.descriptor_size} bytes"
    elif not 0 < found.blocks_per_group <= found.block * 8 * 65536 or not found.inodes_per_group:
        wrong = f"groups of {found.blocks_per_group} blocks and {found.inodes_per_group} inodes"
    elif not found.blocks or not found.inodes:
        wrong = f"{found.blocks} blocks and {found.inodes} inodes"
    if wrong:
        raise BrowseError(f"the ext superblock is damaged: it names {wrong}")
    return found


def find(window: Window) -> Superblock | None:
    """The first superblock, or the first copy that is whole where that one is damaged; None for no ext at all.

    Raises BrowseError where the first one is impossible and there is no copy.
    """
    trouble: BrowseError | None = None
    first: Superblock | None = None
    raw = window.read(START, SIZE)
    try:
        first = parse(raw)
        if first is not None and holds(raw):
            return first
    except BrowseError as error:
        trouble = error
    found = next(filter(None, (_copy(window, place) for place in _places(window))), first)
    if found is None and trouble is not None:
        raise trouble
    return found


def holds(raw: bytes) -> bool:
    """Whether a superblock's checksum is right, where it has one: the kernel mounts none whose is not."""
    if not _u32(raw, 0x64) & CHECKSUMS or raw[0x175] != 1:
        return True
    return crc32c(raw[:0x3FC]) == _u32(raw, 0x3FC)


def _places(window: Window) -> Iterator[int]:
    """Where copies lie with the number of blocks a group that mke2fs gives; on a small disk wherever they may be."""
    for block in (4096, 1024, 2048, 65536, 8192, 16384, 32768):
        for blocks in (1, 16, 2, 4, 8, 32, 64):  # in a cluster
            for group in (1, 3, 5) if blocks == 1 else (1,):
                yield (group * block * 8 * blocks + (block == 1024)) * block
                if blocks > 1 and block == 1024:
                    yield group * block * 8 * blocks * block
    if window.size > SEARCHED:
        return
    for at in range(0, min(window.size, FARTHEST), PIECE):
        piece = window.read(at, PIECE)
        found = piece.find(MAGIC_RAW)
        while found >= 0:
            if found % 1024 == 56:
                yield at + found - 56
            found = piece.find(MAGIC_RAW, found + 1)


def _copy(window: Window, at: int) -> Superblock | None:
    """The copy, if it says of itself where it is; an older file system's, with its end beyond this one, is none."""
    raw = window.read(at, SIZE)
    try:
        found = parse(raw)
    except BrowseError:
        return None
    if found is None or not found.group or not holds(raw) or found.blocks * found.block > window.size:
        return None
    return found if (found.group * found.blocks_per_group + found.first_data) * found.block == at else None


def load(window: Window) -> Superblock:
    """The superblock of a file system that this reader can read. Raises BrowseError, Unsupported."""
    found = find(window)
    if found is None:
        raise BrowseError("there is no ext superblock")
    if unknown := found.incompat & ~KNOWN:
        raise Unsupported(f"this {found.format} has features that the quick driver does not know ({unknown:#x})")
    return found


def _u16(raw: bytes, at: int) -> int:
    number: int = struct.unpack_from("<H", raw, at)[0]
    return number


def _u32(raw: bytes, at: int) -> int:
    number: int = struct.unpack_from("<I", raw, at)[0]
    return number
