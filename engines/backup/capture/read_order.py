"""The order in which a disk is read: map by map, in pieces of 4 MiB where there may be data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engines.backup.capture.hints import Hint
from engines.backup.repository.point import MAP
from engines.backup.sources.source import Source

PIECE = 4  # blocks read at a time


@dataclass
class MapWork:
    """One map being made. `ids` is None while nothing in it is known to differ; `left` items of it are not done yet."""

    number: int
    left: int
    ids: bytearray | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """`count` blocks from `first` on, which are `items` of the map's work."""

    work: MapWork
    first: int
    count: int
    items: int = 1

    def touches(self, after: Piece) -> bool:
        """Whether that one goes on where this ends, in the same map."""
        return after.work is self.work and after.first == self.first + self.count

    def with_next(self, after: Piece) -> Piece:
        """Both as one."""
        return Piece(self.work, self.first, self.count + after.count, self.items + after.items)


@dataclass(frozen=True, slots=True)
class Hole:
    """`count` blocks from `first` on that are zero without being read."""

    work: MapWork
    first: int
    count: int


@dataclass
class Order:
    """Gives the work of a whole disk, ascending; of what `hint` does not name, its sample only."""

    source: Source
    block: int
    blocks: int
    hint: Hint | None = None

    def __iter__(self) -> Iterator[Piece | Hole]:
        for number in range(-(-self.blocks // MAP)):
            first = number * MAP
            last = min(first + MAP, self.blocks)
            pieces = self._pieces(first, last)
            items = list(_joined(pieces)) or [(first, first, False)]
            work = MapWork(number, len(items))
            for start, end, data in items:
                yield (Piece if data else Hole)(work, start, end - start)

    def _pieces(self, first: int, last: int) -> list[tuple[int, int, bool]]:
        """(first, last, data) of blocks. What is not named keeps its ids."""
        if self.hint is not None and self.hint.silent(first, last):
            return []
        wanted = self._groups(self.source.extents(first * self.block, last * self.block))
        if self.hint is not None:
            return list(_hinted(self.hint, first, last, wanted))
        if not wanted:
            return [(first, last, False)]
        return [(at, min(at + PIECE, last), at // PIECE in wanted) for at in range(first, last, PIECE)]

    def _groups(self, extents: Iterable[tuple[int, int]]) -> set[int]:
        """The pieces that some byte ranges touch."""
        touched: set[int] = set()
        step = self.block * PIECE
        for start, end in extents:
            touched.update(range(start // step, -(-end // step)))
        return touched


def _hinted(hint: Hint, first: int, last: int, wanted: set[int]) -> Iterator[tuple[int, int, bool]]:
    for at in range(first, last, PIECE):
        end = min(at + PIECE, last)
        if hint.changed(at, end):
            yield at, end, at // PIECE in wanted
        else:
            yield from ((number, number + 1, True) for number in hint.samples(at, end))


def _joined(pieces: list[tuple[int, int, bool]]) -> Iterator[tuple[int, int, bool]]:
    """The same with neighbouring holes as one."""
    hole: tuple[int, int] | None = None
    for first, last, data in pieces:
        if not data:
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
