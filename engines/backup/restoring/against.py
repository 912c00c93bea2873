"""Compares a point with the disk that it was made of."""

from __future__ import annotations

import threading

from engines.backup.pages.workers import Workers
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.restoring.restoring import differs
from engines.backup.restoring.runs import PIECE, BlockRun, runs
from engines.backup.sources.source import Source
from engines.job.errors import Refused


class Against:
    """One comparison; numbers of blocks that differ go to `differ`, `passed` of `total` bytes are read."""

    def __init__(self, repository: Repository, point: Point, source: Source) -> None:
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
        self.differ: set[int] = set()
        self.passed = 0
        self.total = point.head.size

    def comparing(self) -> Workers[BlockRun]:
        """Threads that compare."""
        return Workers(runs(self._repository, self._point), self._compare)

    def _compare(self, run: BlockRun) -> None:
        start = run.first * self._block
        length = min(run.count * self._block, self.total - start)
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
                with self._lock:
                    self.differ.add(number)
