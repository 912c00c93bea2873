"""A superblock of XFS or btrfs that is damaged, made anew from one of the copies that the file system keeps of it.

Sources: the kernel's fs/xfs/libxfs/xfs_format.h and mkfs's geometry (calc_default_ag_geometry); fs/btrfs/fs.h and
the btrfs on-disk format's superblock mirrors.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import xxhash

from engines.backup.files.volumes import heads
from engines.backup.files.volumes.ext.crc32c import crc32c
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

MIB = 1024 * 1024
XFS = b"XFSB"
XFS_HEADS = (b"XAGF", b"XAGI", b"XAFL", b"AB3B", b"ABTB", b"IAB3", b"IABT")  # what lies behind the first superblock
SIZES = (4096, 512, 1024, 2048, 8192, 16384, 32768, 65536)  # bytes of a block, the usual one first
GROUPS = (4, 1, 2, 3, *range(5, 33), 64, 128)  # allocation groups that mkfs makes
SEARCHED = 512 * MIB  # bytes looked through where no geometry leads to a copy
TRACED = 16 * SEARCHED  # the same where the rest of a first group's head is still there
TRIED = 200  # places that are read, most of them guesses: a disk may be made to have millions of copies
SIBLINGS = 16  # copies that are read by the geometry of one
LEAST_GROUP = 16 * MIB  # bytes of an allocation group where there are several; XFS_MIN_AG_BYTES
INODE_NONE = (1 << 64) - 1
INODE_MOST = 1 << 56
BTRFS = b"_BHRfS_M"
BTRFS_FIRST, BTRFS_LENGTH = 65536, 4096
BTRFS_COPIES = (64 * MIB, 256 * 1024 * MIB)


def _crc(raw: bytes) -> bytes:
    return struct.pack("<I", crc32c(raw) ^ 0xFFFFFFFF)


BTRFS_SUMS: Mapping[int, Callable[[bytes], bytes]] = MappingProxyType(
    {
        0: _crc,
        1: lambda raw: struct.pack("<Q", xxhash.xxh64_intdigest(raw)),
        2: lambda raw: hashlib.sha256(raw).digest(),
        3: lambda raw: hashlib.blake2b(raw, digest_size=32).digest(),
    }
)


def patch(part: Window, wanted: str = "") -> tuple[str, int, bytes] | None:
    """(format, byte, bytes to read there) of a damaged superblock that has a copy; None where that is not so.

    wanted: the format that the disk is known to have; its copies alone are looked at, not a former file system's.
    """
    if wanted in ("", "xfs") and not xfs_is_sound(part.read(0, 4096), part.size) and (found := _xfs_copy(part)):
        return "xfs", 0, found
    if wanted == "xfs" or btrfs_is_sound(part.read(BTRFS_FIRST, BTRFS_LENGTH), BTRFS_FIRST):
        return None
    raw = btrfs_copy(part)
    return ("btrfs", BTRFS_FIRST, raw) if raw else None


# ── XFS ─────────────────────────────────────────────────────────────────────────────────────────────


def xfs_is_sound(raw: bytes, size: int) -> bool:
    """Whether these are an XFS superblock whose geometry, and checksum where it has one, hold."""
    if raw[:4] != XFS or len(raw) < 512:
        return False
    block, blocks = struct.unpack_from(">IQ", raw, 4)
    group, count = struct.unpack_from(">II", raw, 84)
    version, sector = struct.unpack_from(">HH", raw, 100)
    if block not in SIZES or not 512 <= sector <= 32768 or sector & (sector - 1):
        return False
    if not group or not count or not (count - 1) * group < blocks <= count * group or blocks * block > size + block:
        return False
    if count > 1 and group * block < LEAST_GROUP:
        return False
    return version & 15 != 5 or sector > len(raw) or _xfs_sum(raw[:sector]) == raw[224:228]


def _xfs_sum(sector: bytes) -> bytes:
    return _crc(sector[:224] + bytes(4) + sector[228:])


def has_xfs_heads(part: Window) -> bool:
    """Whether what lies behind a first superblock is still there; mke2fs leaves one kind of it at most."""
    return len(_heads(part)) > 1


def _heads(part: Window) -> set[bytes]:
    head = part.read(0, 65536)
    return {head[at : at + 4] for at in range(512, len(head), 512)} & set(XFS_HEADS)


def _xfs_copy(part: Window) -> bytes | None:
    """The superblock as the first one was. Raises Failed where none is found and a place could not be read."""
    looked: dict[int, bytes | None] = {}
    trouble: Failed | None = None

    def at(place: int) -> bytes | None:
        nonlocal trouble
        if place not in looked and len(looked) < TRIED:
            looked[place] = None
            try:
                looked[place] = _xfs_at(part, place)
            except Failed as error:
                trouble = trouble or error
        return looked.get(place)

    for place in _xfs_places(part):
        first = at(place)
        for copy in filter(None, map(at, _siblings(first) if first else ())):
            if 0 < struct.unpack_from(">Q", copy, 56)[0] < INODE_MOST:  # mkfs does not complete all of them
                return _completed(part, copy)
        if len(looked) >= TRIED:
            break
    if trouble:
        raise trouble
    return None


def _siblings(copy: bytes) -> Iterator[int]:
    """Where the copies of the same lie: those that mkfs completes, then some others."""
    length, count = _group(copy), struct.unpack_from(">I", copy, 88)[0]
    numbers = (count - 1, (count - 1) // 2, count // 2, 1, *range(count - 2, max(1, count - SIBLINGS), -1))
    return (number * length for number in dict.fromkeys(numbers) if number)


def _group(copy: bytes) -> int:
    """Bytes of an allocation group."""
    block, blocks = struct.unpack_from(">I", copy, 4)[0], struct.unpack_from(">I", copy, 84)[0]
    return int(block * blocks)


def _completed(part: Window, copy: bytes) -> bytes:
    raw = bytearray(copy)
    raw[126] = 0  # "mkfs is at work"
    root, *realtime = struct.unpack_from(">3Q", raw, 56)
    if INODE_NONE in realtime:  # mkfs makes both right behind the root, and notes them only in the first
        struct.pack_into(">QQ", raw, 64, root + 1, root + 2)
    if raw[101] & 15 == 5:
        raw[224:228] = _xfs_sum(bytes(raw))
    return _with_heads(part, bytes(raw))


def _with_heads(part: Window, head: bytes) -> bytes:
    """The same with the first group's headers behind it, where those are gone, too."""
    return head + (heads.made(part, head, _crc) or b"")


def _xfs_at(part: Window, place: int) -> bytes | None:
    """A copy that says of itself that it lies there, one sector."""
    raw = part.read(place, 32768) if 0 < place < part.size else b""
    if not xfs_is_sound(raw, part.size):
        return None
    return raw[: struct.unpack_from(">H", raw, 102)[0]] if place % _group(raw) == 0 else None


def _xfs_places(part: Window) -> Iterator[int]:
    """Where a copy may lie, the likely ones first."""
    head = part.read(0, 65536)
    for sector in (512, 1024, 2048, 4096):
        if head[sector : sector + 4] == b"XAGF":
            yield from (struct.unpack_from(">I", head, sector + 12)[0] * block for block in SIZES)
    for block in SIZES:
        blocks = part.size // block
        for count in GROUPS if block == SIZES[0] else GROUPS[:1]:
            yield -(-blocks // count) * block
            yield blocks // count * block
    traced = bool(_heads(part))
    if not traced and part.size > SEARCHED:
        return
    for at in range(0, min(part.size, TRACED if traced else SEARCHED), 4 * MIB):
        piece = part.read(at, 4 * MIB)
        found = piece.find(XFS)
        while found >= 0:
            if found % 512 == 0 and _may_lie(piece[found : found + 92], at + found):
                yield at + found
            found = piece.find(XFS, found + 1)


def _may_lie(raw: bytes, place: int) -> bool:
    """Whether a copy may lie there by its geometry: most that look like one are of a guest's own images."""
    return len(raw) == 92 and _group(raw) >= LEAST_GROUP and place % _group(raw) == 0


# ── btrfs ───────────────────────────────────────────────────────────────────────────────────────────


def btrfs_is_sound(raw: bytes, place: int) -> bool:
    """Whether these 4 KiB are a btrfs superblock of that place whose checksum holds."""
    if len(raw) < BTRFS_LENGTH or raw[0x40:0x48] != BTRFS or struct.unpack_from("<Q", raw, 0x30)[0] != place:
        return False
    made = BTRFS_SUMS.get(struct.unpack_from("<H", raw, 0xC4)[0])
    return made is None or raw[:32].startswith(made(raw[32:]))


def btrfs_copy(part: Window) -> bytes | None:
    """The first superblock as a sound copy has it."""
    for place in BTRFS_COPIES:
        raw = bytearray(part.read(place, BTRFS_LENGTH) if place + BTRFS_LENGTH <= part.size else b"")
        if not btrfs_is_sound(bytes(raw), place) or struct.unpack_from("<Q", raw, 0x70)[0] == 0:
            continue
        struct.pack_into("<Q", raw, 0x30, BTRFS_FIRST)
        made = BTRFS_SUMS.get(struct.unpack_from("<H", raw, 0xC4)[0])
        if made is not None:
            raw[:32] = made(bytes(raw[32:])).ljust(32, b"\0")
            return bytes(raw)
    return None
