"""The headers of an XFS's first group, made anew where they went with the superblock: no kernel mounts it without.

Source: the kernel's fs/xfs/libxfs/xfs_format.h (xfs_agf, xfs_agi, xfs_btree_block). What only writers need stays empty.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from engines.backup.files.volumes.window import Window

NONE = 0xFFFFFFFF
SEARCHED = 64 * 1024 * 1024  # bytes from the first, where no root lies in its usual block
USUAL = 64 * 1024  # bytes within which mkfs puts the roots
FREE_INODES, REVERSE, SHARED = 0x1, 0x2, 0x4  # read-only compatible features
BUCKETS = 64
SPACE_SUM, INODES_SUM = 216, 312  # where each header has its checksum
Summed = Callable[[bytes], bytes]


class Lost(Exception):
    """A tree's root is not found."""


class Root(NamedTuple):
    """Of a tree: its block, how many levels it has, the file system's own id."""

    block: int = 0
    levels: int = 0
    id: bytes = bytes(16)


def made(part: Window, head: bytes, summed: Summed) -> bytes | None:
    """Both headers' sectors, for a superblock `head`; None where they are sound, or cannot be made.

    summed: gives a checksum's four bytes.
    """
    sector = struct.unpack_from(">H", head, 102)[0]
    modern = head[101] & 15 == 5
    space, inodes = part.read(sector, sector), part.read(2 * sector, sector)
    try:
        if not _is_sound(space, b"XAGF", SPACE_SUM, summed if modern else None):
            space = _space(part, head, summed)
        elif _is_sound(inodes, b"XAGI", INODES_SUM, summed if modern else None):
            return None
        if not _is_sound(inodes, b"XAGI", INODES_SUM, summed if modern else None):
            inodes = _inodes(part, head, summed)
    except Lost:
        return None
    return space + inodes


def _is_sound(raw: bytes, magic: bytes, place: int, summed: Summed | None) -> bool:
    if raw[:4] != magic:
        return False
    return summed is None or summed(raw[:place] + bytes(4) + raw[place + 4 :]) == raw[place : place + 4]


def _space(part: Window, head: bytes, summed: Summed) -> bytes:
    modern = head[101] & 15 == 5
    features = struct.unpack_from(">I", head, 212)[0] if modern else 0
    by_block = _root(part, head, b"AB3B" if modern else b"ABTB")
    by_size = _root(part, head, b"AB3C" if modern else b"ABTC")
    reverse = _root(part, head, b"RMB3") if features & REVERSE else Root()
    shared = _root(part, head, b"R3FC") if features & SHARED else Root()
    raw = bytearray(struct.unpack_from(">H", head, 102)[0])
    struct.pack_into(">4s3I", raw, 0, b"XAGF", 1, 0, _length(head))
    struct.pack_into(">6I", raw, 16, by_block.block, by_size.block, reverse.block,
                     by_block.levels, by_size.levels, reverse.levels)  # fmt: skip
    if modern:
        raw[64:80] = by_block.id
        struct.pack_into(">2I", raw, 88, shared.block, shared.levels)
        raw[SPACE_SUM : SPACE_SUM + 4] = summed(bytes(raw))
    return bytes(raw)


def _inodes(part: Window, head: bytes, summed: Summed) -> bytes:
    modern = head[101] & 15 == 5
    features = struct.unpack_from(">I", head, 212)[0] if modern else 0
    used = _root(part, head, b"IAB3" if modern else b"IABT")
    free = _root(part, head, b"FIB3") if features & FREE_INODES else Root()
    raw = bytearray(struct.unpack_from(">H", head, 102)[0])
    struct.pack_into(">4s6I", raw, 0, b"XAGI", 1, 0, _length(head), 0, used.block, used.levels)
    struct.pack_into(f">{BUCKETS + 3}I", raw, 28, 0, *[NONE] * (BUCKETS + 2))
    if modern:
        raw[296:312] = used.id
        struct.pack_into(">II", raw, 328, free.block, free.levels)
        raw[INODES_SUM : INODES_SUM + 4] = summed(bytes(raw))
    return bytes(raw)


def _length(head: bytes) -> int:
    """Blocks of the first group."""
    group: int = struct.unpack_from(">I", head, 84)[0]
    all_: int = struct.unpack_from(">Q", head, 8)[0]
    return min(group, all_)


def _root(part: Window, head: bytes, magic: bytes) -> Root:
    """It alone has no neighbours; that of most levels, where it is not in its usual place. Raises Lost."""
    block, best = struct.unpack_from(">I", head, 4)[0], Root()
    for number in range(1, min(_length(head), SEARCHED // block)):
        raw = part.read(number * block, 64)
        if raw[:4] != magic or len(raw) < 64 or struct.unpack_from(">II", raw, 8) != (NONE, NONE):
            continue
        levels = struct.unpack_from(">H", raw, 4)[0] + 1
        if levels > best.levels:
            best = Root(number, levels, raw[32:48])
        if number * block < USUAL:
            break
    if not best.levels:
        raise Lost
    return best
