"""A restore point: what it is, and the ids of its blocks by way of shared maps."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated

import msgspec

from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.repository.keys import ZERO, Keys

MAP = 512  # blocks a map names
LARGEST = 1 << 50  # bytes of a disk; 1 PiB, the sanest upper bound that maps fit memory at

Name = Annotated[str, msgspec.Meta(pattern=names.NAME, max_length=names.LONGEST)]


class Figures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the backup did, in bytes unless said: data read, blocks that changed, records stored; seconds it took."""

    read: int = 0
    changed: int = 0
    stored: int = 0
    seconds: float = 0.0


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a point says of itself. `size` and `block` in bytes, `time` is when reading began, UTC.

    taken: what the clock said then, where `time` is another: a name always comes after its parent's.
    together: all points of its moment, its own name among them; true only while each is there and says the same.
    """

    vm: Name
    disk: Name
    time: Annotated[str, msgspec.Meta(pattern=names.STAMP.pattern)]
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
    block: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 20)]
    session: Annotated[str, msgspec.Meta(pattern=names.HEX32.pattern)]
    taken: Annotated[str, msgspec.Meta(pattern=f"^$|{names.STAMP.pattern}")] = ""
    parent: str = ""
    consistency: str = ""
    together: tuple[str, ...] = ()
    source: str = ""
    host: str = ""
    strict: bool = False
    tags: tuple[str, ...] = ()
    figures: Figures = Figures()

    @property
    def real(self) -> float:
        """Unix time at which reading began, by the clock of the machine that read."""
        return names.seconds(self.taken or self.time)


class Point(msgspec.Struct, frozen=True):
    """A point: its head and the id of each of its maps."""

    head: Head
    maps: tuple[bytes, ...]

    @property
    def name(self) -> names.PointName:
        """VM, disk, time."""
        return names.PointName(self.head.vm, self.head.disk, self.head.time)

    @property
    def blocks(self) -> int:
        """How many blocks the disk has."""
        return block_count(self.head.size, self.head.block)

    def root(self, keys: Keys) -> bytes:
        """32 bytes that are equal for equal disks."""
        return root(keys, self.head.size, self.maps)


def block_count(size: int, block: int) -> int:
    """Blocks of a disk of `size` bytes."""
    return -(-size // block)


def root(keys: Keys, size: int, maps: Sequence[bytes]) -> bytes:
    """32 bytes that are equal for equal disks."""
    return keys.id(b"root", struct.pack("<Q", size) + b"".join(maps))


def encode(point: Point) -> bytes:
    """The content of a point's record."""
    head = msgspec.json.encode(point.head)
    return struct.pack("<I", len(head)) + head + b"".join(point.maps)


def decode(content: bytes | memoryview, where: str) -> Point:
    """The point of a record's content. Raises Damaged."""
    raw = bytes(content)
    head, at = _head(raw, where)
    return Point(head, tuple(raw[place : place + 32] for place in range(at, len(raw), 32)))


def decode_head(content: bytes | memoryview, where: str) -> Head:
    """The same point's head alone: a disk of 1 TiB has 2,048 maps. Raises Damaged."""
    return _head(bytes(content), where)[0]


def _head(raw: bytes, where: str) -> tuple[Head, int]:
    """The head, and where the ids of its maps begin."""
    length = int.from_bytes(raw[:4], "little")
    try:
        head = msgspec.json.decode(raw[4 : 4 + length], type=Head)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Damaged(where, f"its head cannot be read ({error})") from None
    if not (names.good(head.vm) and names.good(head.disk)):
        raise Damaged(where, "it is named like no disk")
    ids = max(len(raw) - 4 - length, 0)
    wanted = block_count(block_count(head.size, head.block), MAP)
    if ids != wanted * 32:
        raise Damaged(where, f"it has {ids // 32} maps where its size needs {wanted}")
    return head, 4 + length


def map_length(point_blocks: int, number: int) -> int:
    """Blocks that the map with that number names."""
    return min(MAP, point_blocks - number * MAP)


def zero_map(blocks: int) -> bytes:
    """A map whose blocks are all zero."""
    return ZERO * blocks
