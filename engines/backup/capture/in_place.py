"""Sees that blocks are as they were where they lie in memory, where that is quicker than copying them first."""

from __future__ import annotations

import time

import xxhash

from engines.backup.capture.quicker import FasterWay
from engines.backup.repository.block_hashes import BlockHashes
from engines.backup.sources.source import Source

MOST = 32  # blocks looked at together, which the source has looked ahead to: each look costs as much as a block


class InPlace:
    """Compares what a source lends with the point before; for several threads. `compares`: there is such a point."""

    def __init__(self, source: Source, positions: BlockHashes, size: int, seed: int, *, compares: bool) -> None:
        self._source = source
        self._positions = positions
        self._size = size
        self._seed = seed
        self._compares = compares
        self.trial = FasterWay()

    def most(self, start: int) -> int:
        """How many blocks from byte `start` on are best looked at together; 0 where one does not look."""
        return MOST if self._compares and self.trial.verdict and self._source.at_hand(start) else 0

    def unchanged(self, first: int, start: int, length: int) -> bool:
        """Whether the blocks from `first` on, at byte `start`, are as they were; False where it was not looked."""
        if not self._compares or not self._source.at_hand(start) or not self.trial.in_place():
            return False
        digest, size, seed = xxhash.xxh3_128_digest, self._size, self._seed
        began = time.thread_time()
        seen = self._source.lend(start, length)
        if seen is None:
            return False
        try:
            digests = b"".join([digest(seen[at : at + size], seed=seed) for at in range(0, length, size)])
        finally:
            seen.release()
            held = self._source.take_back(start, length)
        self.trial.took(began, in_place=True)
        return held and self._positions.same(first, digests)
