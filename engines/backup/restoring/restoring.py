"""Writes a point to a target: every block is proven before it is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from engines.backup.errors import Damaged, Missing
from engines.backup.pages.memory import room
from engines.backup.pages.workers import Workers, worker_count
from engines.backup.repository import record
from engines.backup.repository.keys import ZERO
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.repository.spans import HeldSpan, Span
from engines.backup.restoring.gathering import FAR, Gathered, gathered
from engines.backup.restoring.runs import PIECE, BlockRun, runs
from engines.backup.restoring.target import Target


def differs(repository: Repository, block: memoryview, wanted: bytes) -> bool:
    """Whether a block is another than the one with the id `wanted`."""
    return not record.is_zero(block) if wanted == ZERO else repository.codec.id(record.BLOCK, block) != wanted


class Restoring:
    """One restore at work. `passed`, `written` and `same` count bytes.

    lost: numbers of blocks that no pack holds whole, zeros on the target; to salvage only, else that is an error.
    """

    def __init__(
        self, repository: Repository, point: Point, target: Target, *, delta: bool, salvage: bool = False
    ) -> None:
        self._repository = repository
        self._point = point
        self._target = target
        self._delta = (delta and not target.blank) or target.begun
        self._salvage = salvage
        self.lost: set[int] = set()
        self._block = point.head.block
        self._lock = threading.Lock()
        self._local = threading.local()
        self.passed = 0
        self.written = 0
        self.same = 0
        self.wrong: list[int] = []

    def writing(self) -> Workers[Any]:
        """Threads that restore; each waits for the disk itself, and another has the processor meanwhile."""
        threads = max(2 * worker_count(), min(self._repository.store.at_once, FAR))
        if self._repository.store.at_once < 2:
            return Workers(self._runs(), self._write, threads=threads)
        return Workers(gathered(self._repository, self._runs(), threads), self._write_gathered, threads=threads)

    def push(self) -> None:
        """Begin to make durable what was written."""
        self._target.push()

    def checking(self) -> Workers[BlockRun]:
        """Threads that read the target back; block numbers that differ go to `wrong`."""
        self.passed = 0
        return Workers(self._runs(), self._check)

    def _runs(self) -> Iterator[BlockRun]:
        return runs(self._repository, self._point, salvage=self._salvage)

    def _length(self, run: BlockRun) -> int:
        start = run.first * self._block
        return min(run.count * self._block, self._point.head.size - start)

    def _write(self, run: BlockRun) -> None:
        offset, length = run.first * self._block, self._length(run)
        if run.lost:
            with self._lock:
                self.lost.update(range(run.first, run.first + run.count))
        if not run.ids:
            self._target.zero(offset, length)
        else:
            self._write_data(run, offset, length)
        with self._lock:
            self.passed += length

    def _write_data(self, run: BlockRun, offset: int, length: int) -> None:
        known = self._known(run) if self._delta else frozenset[int]()
        view = self._buffer[:length]
        start = 0
        for at, name in enumerate([*run.ids, b""]):
            if name and at not in known:
                self._fetch(name, (run.first + at,), view[at * self._block : (at + 1) * self._block])
                continue
            if at > start:
                self._target.write(offset + start * self._block, view[start * self._block : at * self._block])
            start = at + 1
        done = length - sum(min(self._block, length - at * self._block) for at in known)
        with self._lock:
            self.written += done
            self.same += length - done

    def _write_gathered(self, item: BlockRun | Gathered) -> None:
        if isinstance(item, BlockRun):
            self._write(item)
            return
        unlike = {place: self._unlike(place, numbers) for place, numbers in item.numbers.items()}
        left = {place: numbers for place, numbers in unlike.items() if numbers}
        self._write_span(left)
        lengths = {number: self._length(BlockRun(number, 1)) for numbers in item.numbers.values() for number in numbers}
        written = sum(lengths[number] for numbers in left.values() for number in numbers)
        with self._lock:
            self.passed += sum(lengths.values())
            self.written += written
            self.same += sum(lengths.values()) - written

    def _unlike(self, place: RecordPlace, numbers: Sequence[int]) -> Sequence[int]:
        """Those blocks that are not yet what the record at `place` holds."""
        if not self._delta:
            return numbers
        return [number for number in numbers if not self._known(BlockRun(number, 1, (place.id,)))]

    def _write_span(self, numbers: Mapping[RecordPlace, Sequence[int]]) -> None:
        """What cannot be had from its place is looked for wherever else it may be."""
        if not numbers:
            return
        held = None
        with suppress(FileNotFoundError):  # gc may have moved it
            held = HeldSpan(self._repository, Span(tuple(numbers)))
        for place, where in numbers.items():
            view = self._buffer[: self._length(BlockRun(where[0], 1))]
            try:
                if held:
                    held.content(place, record.BLOCK, view)
            except Damaged:
                held = None
            if not held:
                self._fetch(place.id, where, view)
            for number in where:
                self._target.write(number * self._block, view)

    def _fetch(self, name: bytes, numbers: Sequence[int], into: memoryview) -> None:
        try:
            self._repository.fetch(name, record.BLOCK, into)
        except (Missing, Damaged):
            if not self._salvage:
                raise
            into[:] = bytes(len(into))
            with self._lock:
                self.lost.update(numbers)

    def _known(self, run: BlockRun) -> frozenset[int]:
        """Which of the run's blocks the target has already."""
        view = self._read(run.first * self._block, self._length(run))
        same = set()
        for at, name in enumerate(run.ids):
            block = view[at * self._block : (at + 1) * self._block]
            if not differs(self._repository, block, name):
                same.add(at)
        return frozenset(same)

    @property
    def _buffer(self) -> memoryview:
        """The thread's own, whole pages as O_DIRECT wants them."""
        if not hasattr(self._local, "buffer"):
            self._local.buffer = room(PIECE * self._block)
        buffer: memoryview = self._local.buffer
        return buffer

    def _read(self, offset: int, length: int) -> memoryview:
        view = self._buffer[:length]
        self._target.read_into(offset, view)
        return view

    def _check(self, run: BlockRun) -> None:
        start = run.first * self._block
        for at in range(0, self._length(run), PIECE * self._block):
            length = min(PIECE * self._block, self._length(run) - at)
            view = self._read(start + at, length)
            for number, low in enumerate(range(0, length, self._block), run.first + at // self._block):
                block = view[low : low + self._block]
                known = run.ids and number not in self.lost
                wanted = run.ids[number - run.first] if known else ZERO
                if differs(self._repository, block, wanted):
                    with self._lock:
                        self.wrong.append(number)
            with self._lock:
                self.passed += length
