"""Where two disks differ, told from the names of their blocks: no byte of either is read."""

from __future__ import annotations

from engines.backup.repository.byte_source import PointBytes
from engines.backup.repository.point import MAP, map_length

Spans = list[tuple[int, int]]


def differing(old: PointBytes, new: PointBytes) -> Spans:
    """Ranges in bytes, ascending and apart, that may differ; equal ids are equal bytes, within one repository."""
    spans: Spans = []
    count = max(old.point.blocks, new.point.blocks)
    for number in range(-(-count // MAP)):
        if _map(old, number) == _map(new, number) is not None:
            continue
        first = number * MAP
        length = max(_length(old, number), _length(new, number))
        pairs = zip(_ids(old, first, length), _ids(new, first, length), strict=True)
        for at, (before, after) in enumerate(pairs, first):
            if before != after:
                _add(spans, at * old.block, (at + 1) * old.block)
    return spans


def _map(side: PointBytes, number: int) -> bytes | None:
    """The name of a whole map of ids; None where the disk ends before or within it."""
    return side.point.maps[number] if _length(side, number) == MAP else None


def _length(side: PointBytes, number: int) -> int:
    return max(0, map_length(side.point.blocks, number))


def _ids(side: PointBytes, first: int, count: int) -> list[bytes]:
    found = side.ids(first, count)
    return found + [b""] * (count - len(found))


def _add(spans: Spans, start: int, end: int) -> None:
    if spans and spans[-1][1] == start:
        spans[-1] = (spans[-1][0], end)
    else:
        spans.append((start, end))


def touch(spans: Spans, start: int, end: int) -> bool:
    """Whether one of them reaches into [start, end)."""
    return any(first < end and start < last for first, last in spans)
