"""A point as runs of blocks: pieces of data, stretches of zeros, and what is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from engines.backup.errors import Damaged, Missing
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import MAP, Point, map_length
from engines.backup.repository.repository import Repository

PIECE = 4  # blocks that one thread handles at a time


@dataclass(frozen=True, slots=True)
class BlockRun:
    """Neighbouring blocks from `first` on with their ids; all zero where `ids` is empty, unless they are `lost`."""

    first: int
    count: int
    ids: tuple[bytes, ...] = ()
    lost: bool = False


def runs(repository: Repository, point: Point, *, salvage: bool = False) -> Iterator[BlockRun]:
    """A point as runs, ascending: pieces of data, and stretches of zeros within each map.

    Blocks whose map is lost are a run of their own to salvage; else Missing or Damaged is raised.
    """
    for number in range(len(point.maps)):
        first = number * MAP
        try:
            ids = repository.map(point, number)
        except (Missing, Damaged):
            if not salvage:
                raise
            yield BlockRun(first, map_length(point.blocks, number), lost=True)
            continue
        names = [ids[at : at + 32] for at in range(0, len(ids), 32)]
        at = 0
        while at < len(names):
            zero = names[at] == ZERO
            end = at + 1
            while end < len(names) and (names[end] == ZERO) == zero and (zero or end - at < PIECE):
                end += 1
            yield BlockRun(first + at, end - at, () if zero else tuple(names[at:end]))
            at = end


def holes(point: Point, lost: Collection[int]) -> list[tuple[int, int]]:
    """Blocks as stretches of the disk: (first byte, byte behind the last), ascending."""
    block, found = point.head.block, list[tuple[int, int]]()
    for number in sorted(lost):
        start, end = number * block, min((number + 1) * block, point.head.size)
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found
