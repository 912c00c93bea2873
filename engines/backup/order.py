"""The order in which a disk is read: map by map, in pieces of 4 MiB where there may be data."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engines.backup.point import MAP
from engines.backup.sources import Source

PIECE = 4  # blocks read at a time
SAMPLE = 100  # of the pieces that a hint calls unchanged, one in this many is read all the same


@dataclass
class MapWork:
    """One map being made. `ids` is None while nothing in it is known to differ; `left` items of it are not done yet."""

    number: int
    left: int
    ids: bytearray | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """`count` blocks from `first` on; `sample`: a hint says that they did not change."""

    work: MapWork
    first: int
    count: int
    sample: bool = False


@dataclass(frozen=True, slots=True)
class Hole:
    """`count` blocks from `first` on that are zero without being read."""

    work: MapWork
    first: int
    count: int


@dataclass
class Order:
    """Gives the work of a whole disk, ascending; `hints` as Source.changed gives them."""

    source: Source
    block: int
    blocks: int
    hints: list[tuple[int, int]] | None = None
    _random: random.Random = field(default_factory=random.SystemRandom)

    def __iter__(self) -> Iterator[Piece | Hole]:
        for number in range(-(-self.blocks // MAP)):
            first = number * MAP
            last = min(first + MAP, self.blocks)
            pieces = self._pieces(first, last)
            items = list(_joined(pieces)) or [(first, first, False)]
            work = MapWork(number, len(items))
            for start, end, data in items:
                if data is False:
                    yield Hole(work, start, end - start)
                else:
                    yield Piece(work, start, end - start, sample=data is None)

    def _pieces(self, first: int, last: int) -> list[tuple[int, int, bool | None]]:
        """(first, last, data) of blocks; data is None for a sample of what a hint calls unchanged.

        What is not named keeps its ids.
        """
        wanted = self._groups(self.source.extents(first * self.block, last * self.block))
        if self.hints is None and not wanted:
            return [(first, last, False)]
        if self.hints is None:
            return [(at, min(at + PIECE, last), at // PIECE in wanted) for at in range(first, last, PIECE)]
        hinted = self._groups(
            (max(start, first * self.block), min(end, last * self.block))
            for start, end in self.hints
            if start < last * self.block and end > first * self.block
        )
        found: list[tuple[int, int, bool | None]] = []
        for at in range(first, last, PIECE):
            group = at // PIECE
            if group in hinted:
                found.append((at, min(at + PIECE, last), group in wanted))
            elif group in wanted and self._random.randrange(SAMPLE) == 0:
                found.append((at, min(at + PIECE, last), None))
        return found

    def _groups(self, extents: Iterable[tuple[int, int]]) -> set[int]:
        """The pieces that some byte ranges touch."""
        touched: set[int] = set()
        step = self.block * PIECE
        for start, end in extents:
            touched.update(range(start // step, -(-end // step)))
        return touched


def _joined(pieces: list[tuple[int, int, bool | None]]) -> Iterator[tuple[int, int, bool | None]]:
    """The same with neighbouring holes as one."""
    hole: tuple[int, int] | None = None
    for first, last, data in pieces:
        if data is False:
            if hole and hole[1] != first:
                yield *hole, False
                hole = None
            hole = (hole[0] if hole else first, last)
            continue
        if hole:
            yield *hole, False
            hole = None
        yield first, last, data
    if hole:
        yield *hole, False
