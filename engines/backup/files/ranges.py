"""Ranges of bytes put in order, those that touch joined to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(start, end) in bytes, ascending by start; what touches or overlaps comes as one."""
    begun: tuple[int, int] | None = None
    for start, end in ranges:
        if begun and start <= begun[1]:
            begun = (begun[0], max(begun[1], end))
            continue
        if begun:
            yield begun
        begun = (start, end)
    if begun:
        yield begun
