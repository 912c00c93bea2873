"""Blocks that a far store has beside one another, gathered so that one question asks for several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.repository import Repository
from engines.backup.repository.spans import spans
from engines.backup.restoring.runs import BlockRun

FAR = 16  # threads where the store is far: each waits for an answer
WINDOW = 64  # blocks that are looked over at a time; records lie about in the order of the disk


@dataclass(frozen=True, slots=True)
class Gathered:
    """Records of one span, by their offsets, and which blocks of the disk each of them is."""

    numbers: dict[RecordPlace, tuple[int, ...]]


def gathered(repository: Repository, runs: Iterable[BlockRun], at_once: int) -> Iterator[BlockRun | Gathered]:
    """The same blocks; what has no place, is zero or is lost stays a run."""
    wanted: dict[bytes, list[int]] = {}
    for run in runs:
        if not run.ids:
            yield run
            continue
        for number, name in enumerate(run.ids, run.first):
            wanted.setdefault(name, []).append(number)
        if len(wanted) >= WINDOW:
            yield from _placed(repository, wanted, at_once)
            wanted = {}
    yield from _placed(repository, wanted, at_once)


def _placed(repository: Repository, wanted: dict[bytes, list[int]], at_once: int) -> Iterator[BlockRun | Gathered]:
    found: dict[RecordPlace, tuple[int, ...]] = {}
    for name, numbers in wanted.items():
        place = next(repository.index.find(name), None)
        if place is None:
            yield from (BlockRun(number, 1, (name,)) for number in numbers)
        else:
            found[place] = tuple(numbers)
    for span in spans(found, at_once):
        yield Gathered({place: found[place] for place in span.places})
