"""The trees of a btrfs by their keys, on the part of it that lies on one disk.

Source: the btrfs on-disk format (btrfs.readthedocs.io, dev/On-disk-format) and the kernel's btrfs_tree.h.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes import copies
from engines.backup.files.volumes.window import Window

KEY = struct.Struct("<QBQ")
CHUNK = struct.Struct("<QQQQIIIHH")
STRIPE = struct.Struct("<QQ16s")
NODE_HEAD, ITEM, POINTER = 101, 25, 33  # bytes
CHUNK_ITEM = 228
STRIPED = 0x8 | 0x40 | 0x80 | 0x100  # RAID0, RAID10, RAID5, RAID6
SYSTEM_CHUNKS = 2048  # bytes of the superblock's own map
NODES = 4096  # read at most: what a listing of subvolumes is worth
CACHED = 8 << 20  # bytes of nodes
STEPS = 32768  # from node to node, the same ones again among them
ROWS = 1 << 20
CHUNKS = 1 << 16  # of 1 GiB, as a rule
DEEPEST = 8
ROOTS = 1  # the tree of trees
ROOT_ITEM = 132
FIRST, LAST = (0, 0, 0), (2**64 - 1, 255, 2**64 - 1)

Key = tuple[int, int, int]


class BtrfsChunk(NamedTuple):
    """`length` bytes of the file system's own addresses from `start` lie at `place` of this disk."""

    start: int
    length: int
    place: int


class Trees:
    """Raises BrowseError where the trees are damaged, or lie on another disk."""

    def __init__(self, part: Window) -> None:
        head = part.read(copies.BTRFS_FIRST, copies.BTRFS_LENGTH)
        if not copies.btrfs_is_sound(head, copies.BTRFS_FIRST):
            found = copies.patch(part, "btrfs")
            if found is None:
                raise BrowseError("there is no btrfs superblock")
            head = found[2]
        self._part = part
        self._id = head[0x20:0x30]
        self._metadata_id = head[0x23B:0x24B] if struct.unpack_from("<Q", head, 0xBC)[0] & 0x400 else self._id
        self._node = struct.unpack_from("<I", head, 0x94)[0]
        if not 4096 <= self._node <= 65536:
            raise BrowseError(f"the btrfs superblock names nodes of {self._node} bytes")
        self._device = struct.unpack_from("<Q", head, 0xC9)[0]
        self._read = self._steps = self._rows = 0
        self._cached: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._chunks = list(self._system(head))
        self._roots: dict[int, tuple[int, int]] = {}
        root, chunks = struct.unpack_from("<QQ", head, 0x50)
        rows = (row for key, raw in self._below(chunks, head[0xC7], (FIRST, LAST)) for row in self._held(key, raw))
        more = list(islice(rows, CHUNKS + 1))
        if len(more) > CHUNKS:
            raise _too_large()
        self._chunks += more
        self._roots[ROOTS] = (root, head[0xC6])
        self.top = struct.unpack_from("<Q", head, 0x80)[0]

    def items(self, tree: int, low: Key = FIRST, high: Key = LAST) -> Iterator[tuple[Key, bytes]]:
        """(key, its bytes) of a tree between two keys, both included, in order."""
        place, level = self._root(tree)
        return self._below(place, level, (low, high))

    def _root(self, tree: int) -> tuple[int, int]:
        if tree not in self._roots:
            rows = self.items(ROOTS, (tree, ROOT_ITEM, 0), (tree, ROOT_ITEM, LAST[2]))
            raw = next((raw for _, raw in rows), b"")
            if len(raw) < 239:
                raise BrowseError(f"btrfs: tree {tree} has no root")
            self._roots[tree] = struct.unpack_from("<Q", raw, 176)[0], raw[238]
        return self._roots[tree]

    def _system(self, head: bytes) -> Iterator[BtrfsChunk]:
        length = min(struct.unpack_from("<I", head, 0xA0)[0], SYSTEM_CHUNKS)
        raw, at = head[0x32B : 0x32B + length], 0
        while at + KEY.size + CHUNK.size <= len(raw):
            _, _, start = KEY.unpack_from(raw, at)
            at += KEY.size
            yield from self._chunk(start, raw[at:])
            at += CHUNK.size + struct.unpack_from("<H", raw, at + 44)[0] * STRIPE.size

    def _held(self, key: Key, raw: bytes) -> Iterator[BtrfsChunk]:
        return self._chunk(key[2], raw) if key[1] == CHUNK_ITEM else iter(())

    def _chunk(self, start: int, raw: bytes) -> Iterator[BtrfsChunk]:
        if len(raw) < CHUNK.size:
            return
        length, _, _, kind, _, _, _, count, _ = CHUNK.unpack_from(raw)
        if kind & STRIPED:
            return
        for at in range(CHUNK.size, min(len(raw), CHUNK.size + count * STRIPE.size) - STRIPE.size + 1, STRIPE.size):
            device, place, _ = STRIPE.unpack_from(raw, at)
            if device == self._device:
                yield BtrfsChunk(start, length, place)

    def _below(self, place: int, level: int, span: tuple[Key, Key]) -> Iterator[tuple[Key, bytes]]:
        raw = self._node_at(place, level)
        count = struct.unpack_from("<I", raw, 96)[0]
        low, high = span
        if level == 0:
            yield from self._leaf(raw, min(count, (len(raw) - NODE_HEAD) // ITEM), span)
            return
        if count > (len(raw) - NODE_HEAD) // POINTER:
            raise _damaged(place)
        places = range(NODE_HEAD, NODE_HEAD + count * POINTER, POINTER)
        first = bisect_right(places, low, key=lambda at: KEY.unpack_from(raw, at)) - 1
        for at in places[max(first, 0) :]:
            if KEY.unpack_from(raw, at) > high:
                return
            yield from self._below(struct.unpack_from("<Q", raw, at + KEY.size)[0], level - 1, span)

    def _leaf(self, raw: bytes, count: int, span: tuple[Key, Key]) -> Iterator[tuple[Key, bytes]]:
        places = range(NODE_HEAD, NODE_HEAD + count * ITEM, ITEM)
        for at in places[bisect_left(places, span[0], key=lambda at: KEY.unpack_from(raw, at)) :]:
            key = KEY.unpack_from(raw, at)
            if key > span[1]:
                return
            self._rows += 1
            if self._rows > ROWS:
                raise _too_large()
            offset, size = struct.unpack_from("<II", raw, at + KEY.size)
            yield key, raw[NODE_HEAD + offset : NODE_HEAD + offset + size]

    def _node_at(self, place: int, level: int) -> bytes:
        self._steps += 1
        if self._steps > STEPS or level > DEEPEST:
            raise _too_large()
        if (place, level) in self._cached:
            self._cached.move_to_end((place, level))
            return self._cached[place, level]
        self._read += 1
        if self._read > NODES:
            raise _too_large()
        raw = self._cached[place, level] = self._sound(place, level)
        if len(self._cached) > CACHED // self._node:
            self._cached.popitem(last=False)
        return raw

    def _sound(self, place: int, level: int) -> bytes:
        """A node that says of itself that it is the one; of two copies the one that does."""
        for chunk in self._chunks:
            if chunk.start <= place < chunk.start + chunk.length:
                raw = self._part.read(chunk.place + place - chunk.start, self._node)
                own = len(raw) == self._node and struct.unpack_from("<Q", raw, 48)[0] == place and raw[100] == level
                if own and raw[32:48] in (self._id, self._metadata_id):
                    return raw
        raise _damaged(place)


def _damaged(place: int) -> BrowseError:
    return BrowseError(f"btrfs: a node of a tree, at its byte {place}, is damaged or on another disk")


def _too_large() -> BrowseError:
    return BrowseError("btrfs: its trees are too large to be looked through here")
