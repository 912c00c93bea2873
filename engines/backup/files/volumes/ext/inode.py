"""Inodes of ext2/3/4 and the map from a file's blocks to the disk's.

Source: Linux, Documentation/filesystems/ext4 (inodes.rst, ifork.rst).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.ext.sums import Sums
from engines.backup.files.volumes.ext.superblock import HUGE_FILE, LARGEDIR, Superblock
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

ENCRYPTED, HAS_EXTENTS, IN_BLOCKS, INLINE = 0x800, 0x80000, 0x40000, 0x10000000  # i_flags
EXTENT_MAGIC = 0xF30A
DEEPEST = 5  # levels of an extent tree
INITIALISED = 32768  # a longer extent is reserved and reads as zeros
HEAD = struct.Struct("<HHIIIIIHHII4x60s4xIIxxxxHHHH")
EXTRA = struct.Struct("<HHIII")


class ExtRun(NamedTuple):
    """`length` blocks of a file from block `first`, on the disk from `place`; None for reserved ones, that read as
    zeros. What no run covers is a hole."""

    first: int
    length: int
    place: int | None

    def follows(self) -> tuple[int, int]:
        """The block of the file, and of the disk, that comes next."""
        return self.first + self.length, (self.place or 0) + self.length


class Inode(NamedTuple):
    """One inode; times in ns since 1970, sizes in bytes. `block` is its map or its content, `raw` all its bytes."""

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    atime: int
    ctime: int
    mtime: int
    links: int
    allocated: int
    flags: int
    block: bytes
    attributes: int
    deleted: int
    raw: bytes


def parse(raw: bytes, number: int, superblock: Superblock) -> Inode:
    """An inode from its bytes, `superblock.inode_size` of them."""
    mode, uid, size, atime, ctime, mtime, dtime, gid, links, sectors, flags, block, acl, high, *rest = HEAD.unpack_from(
        raw
    )
    sectors_high, acl_high, uid_high, gid_high = rest
    kind = mode & 0xF000
    if kind == 0x8000 or (kind == 0x4000 and superblock.incompat & LARGEDIR):
        size |= high << 32
    else:
        acl_high = acl_high if superblock.revision else 0
    extra = [0, 0, 0]
    if superblock.inode_size > 128:
        length, _, *extras = EXTRA.unpack_from(raw, 128)
        extra = [value if length >= 8 + at * 4 else 0 for at, value in enumerate(extras)]
    count = sectors | (sectors_high << 32 if superblock.ro_compat & HUGE_FILE else 0)
    unit = superblock.block if flags & IN_BLOCKS and superblock.ro_compat & HUGE_FILE else 512
    return Inode(
        number=number,
        mode=mode,
        uid=uid | uid_high << 16,
        gid=gid | gid_high << 16,
        size=size,
        ctime=_time(ctime, extra[0]),
        mtime=_time(mtime, extra[1]),
        atime=_time(atime, extra[2]),
        links=links,
        allocated=count * unit,
        flags=flags,
        block=block,
        attributes=acl | acl_high << 32,
        deleted=dtime,
        raw=raw,
    )


def _time(seconds: int, extra: int) -> int:
    seconds = seconds - (1 << 32) if seconds & 0x80000000 else seconds
    return (seconds + ((extra & 3) << 32)) * 1_000_000_000 + (extra >> 2)


class Inodes:
    """Finds inodes and maps their blocks."""

    def __init__(self, window: Window, superblock: Superblock) -> None:
        self._window = window
        self.superblock = superblock
        self.sums = Sums(superblock.seed, superblock.creator)
        self._tables: dict[int, int] = {}

    def get(self, number: int) -> Inode:
        """Raises BrowseError for a number that the file system does not have, and for an inode that is damaged."""
        raw = self._raw(number)
        if not self.sums.inode(number, raw):
            if not raw.strip(b"\0"):
                raise BrowseError(f"inode {number} is free, the file system is damaged")
            raise BrowseError(f"inode {number} is damaged: its checksum does not hold")
        return parse(raw, number, self.superblock)

    def foresee(self, numbers: Iterable[int]) -> None:
        """Have these ready for `get`, where many at once are quicker; what is wrong with one, `get` will say."""
        found = []
        for number in numbers:
            with contextlib.suppress(Failed):
                found.append((number, self._raw(number)))
        self.sums.inodes(found)

    def _raw(self, number: int) -> bytes:
        superblock = self.superblock
        if not 0 < number <= superblock.inodes:
            raise BrowseError(f"inode {number} does not exist, the last one is {superblock.inodes}")
        group, within = divmod(number - 1, superblock.inodes_per_group)
        place = self._table(group) * superblock.block + within * superblock.inode_size
        return self._window.exactly(place, superblock.inode_size, f"inode {number}")

    def _table(self, group: int) -> int:
        if group not in self._tables:
            size = self.superblock.descriptor_size
            raw = self._window.exactly(self.superblock.descriptor(group), size, f"the descriptor of group {group}")
            high = struct.unpack_from("<I", raw, 0x28)[0] if size >= 64 else 0
            self._tables[group] = struct.unpack_from("<I", raw, 8)[0] | high << 32
        return self._tables[group]

    def runs(self, inode: Inode, first: int = 0, end: int = 1 << 32) -> Iterator[ExtRun]:
        """Where blocks `first` to `end` (exclusive) lie, ascending; holes are left out. Raises BrowseError."""
        if inode.flags & HAS_EXTENTS:
            for run in self._extents(inode, inode.block, None, (0, first, end)):
                yield _clipped(run, first, end)
        else:
            yield from self._indirect(inode, first, end)

    # ── extents ─────────────────────────────────────────────────────────────────────────────────────

    def _extents(self, inode: Inode, node: bytes, depth: int | None, span: tuple[int, int, int]) -> Iterator[ExtRun]:
        """The runs of one node; `span` is (lowest block that may come, first wanted, end of wanted)."""
        number = inode.number
        magic, count, _, found = struct.unpack_from("<HHHH", node)
        if magic != EXTENT_MAGIC or count > len(node) // 12 - 1 or found > DEEPEST or depth not in (None, found):
            raise BrowseError(f"the extent tree of inode {number} is damaged")
        if found == 0:
            yield from self._leaf(number, node, count, span)
            return
        lowest, first, end = span
        entries = [struct.unpack_from("<IIH", node, 12 + 12 * at) for at in range(count)]
        for at, (block, low, high) in enumerate(entries):
            until = entries[at + 1][0] if at + 1 < count else 1 << 32
            if block < lowest or until <= block:
                raise BrowseError(f"the extent tree of inode {number} is not in order")
            lowest = until
            if block < end and until > first:
                place = low | high << 32
                child = self._block(place, f"the extent tree of inode {number}")
                if not self.sums.node((number, inode.raw), place, child):
                    raise BrowseError(f"the extent tree of inode {number} is damaged: its checksum does not hold")
                yield from self._extents(inode, child, found - 1, (block, first, min(end, until)))

    def _leaf(self, number: int, node: bytes, count: int, span: tuple[int, int, int]) -> Iterator[ExtRun]:
        lowest, first, end = span
        for at in range(count):
            block, length, high, low = struct.unpack_from("<IHHI", node, 12 + 12 * at)
            reserved = length > INITIALISED
            length -= INITIALISED if reserved else 0
            if block < lowest or not length:
                raise BrowseError(f"the extent tree of inode {number} is not in order")
            lowest = block + length
            place = low | high << 32
            if place + length > self.superblock.blocks or place == 0:
                raise BrowseError(f"inode {number} names blocks outside the file system")
            if block < end and lowest > first:
                yield ExtRun(block, length, None if reserved else place)

    def _block(self, number: int, what: str) -> bytes:
        size = self.superblock.block
        if not 0 < number < self.superblock.blocks:
            raise BrowseError(f"{what} names block {number}, outside the file system")
        return self._window.exactly(number * size, size, what)

    # ── block lists of ext2 and ext3 ────────────────────────────────────────────────────────────────

    def _indirect(self, inode: Inode, first: int, end: int) -> Iterator[ExtRun]:
        entries = struct.unpack("<15I", inode.block)
        per = self.superblock.block // 4
        merged: ExtRun | None = None
        base = 0
        for at, entry in enumerate(entries):
            level = max(0, at - 11)
            width = per**level
            if entry and base < end and base + width > first:
                for block, place in self._pointers(inode.number, entry, level, base, (first, end)):
                    if merged and (block, place) == merged.follows():
                        merged = merged._replace(length=merged.length + 1)
                        continue
                    if merged:
                        yield merged
                    merged = ExtRun(block, 1, place)
            base += width
        if merged:
            yield merged

    def _pointers(
        self, number: int, entry: int, level: int, base: int, wanted: tuple[int, int]
    ) -> Iterator[tuple[int, int]]:
        """(block of the file, block of the disk) below one entry of a list."""
        if level == 0:
            if entry >= self.superblock.blocks:
                raise BrowseError(f"inode {number} names block {entry}, outside the file system")
            if wanted[0] <= base < wanted[1]:
                yield base, entry
            return
        width = (self.superblock.block // 4) ** (level - 1)
        raw = self._block(entry, f"the block list of inode {number}")
        for at, (child,) in enumerate(struct.iter_unpack("<I", raw)):
            start = base + at * width
            if start >= wanted[1]:
                return
            if child and start + width > wanted[0]:
                yield from self._pointers(number, child, level - 1, start, wanted)


def _clipped(run: ExtRun, first: int, end: int) -> ExtRun:
    skip = max(0, first - run.first)
    count = min(run.first + run.length, end) - run.first - skip
    return ExtRun(run.first + skip, count, None if run.place is None else run.place + skip)
