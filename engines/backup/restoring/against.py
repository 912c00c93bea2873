"""Compares a point with the disk that it was made of, or was written to."""

from __future__ import annotations

import threading

from engines.backup.errors import Damaged, Missing
from engines.backup.pages.workers import Workers
from engines.backup.repository import record
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.restoring.restoring import differs
from engines.backup.restoring.runs import PIECE, BlockRun, runs
from engines.backup.sources.source import Source
from engines.job.errors import Refused


class Against:
    """One comparison; numbers of blocks that differ go to `differ`, `passed` of `total` bytes are read.

    lost: numbers of blocks that no pack holds whole and that are zeros here, as salvage leaves them; to it they do not
    differ.
    """

    def __init__(self, repository: Repository, point: Point, source: Source, *, salvage: bool = False) -> None:
        if source.size != point.head.size:
            raise Refused(
                f"{source.words} has {source.size} bytes, {point.name} has {point.head.size}", "name the disk it is of"
            )
        self._repository = repository
        self._point = point
        self._source = source
        self._block = point.head.block
        self._lock = threading.Lock()
        self._local = threading.local()
        self._salvage = salvage
        self.differ: set[int] = set()
        self.lost: set[int] = set()
        self.passed = 0
        self.total = point.head.size

    def comparing(self) -> Workers[BlockRun]:
        """Threads that compare."""
        return Workers(runs(self._repository, self._point, salvage=self._salvage), self._compare)

    def _compare(self, run: BlockRun) -> None:
        start = run.first * self._block
        length = min(run.count * self._block, self.total - start)
        if run.lost:
            with self._lock:
                self.lost.update(range(run.first, run.first + run.count))
        for low, high in self._source.extents(start, start + length) if not run.ids else ((start, start + length),):
            at = low // self._block * self._block
            while at < high:
                self._piece(at, min(at + PIECE * self._block, start + length), run)
                at += PIECE * self._block
        with self._lock:
            self.passed += length

    def _piece(self, start: int, end: int, run: BlockRun) -> None:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = memoryview(bytearray(PIECE * self._block))
        view: memoryview = self._local.buffer[: end - start]
        self._source.read_into(start, view)
        for low in range(0, len(view), self._block):
            number = (start + low) // self._block
            wanted = run.ids[number - run.first] if run.ids else ZERO
            block = view[low : low + self._block]
            if differs(self._repository, block, wanted):
                left_out = self._salvage and record.is_zero(block) and not self._stored(wanted)
                with self._lock:
                    (self.lost if left_out else self.differ).add(number)

    def _stored(self, wanted: bytes) -> bool:
        """Whether that block can be had whole."""
        try:
            self._repository.fetch(wanted, record.BLOCK)
        except (Missing, Damaged):
            return False
        return True
