"""What is said to have changed since the point before, with a random sample of the rest to be read all the same."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

LEAST = 16  # blocks of the sample, where there are as many
REST, DATA, SAMPLED, CHANGED = range(4)
RUNS = re.compile(b"[\x01]+")


class WrongHint(Exception):
    """A block that a hint does not name has changed; the hint is worth nothing."""

    def __init__(self, block: int) -> None:
        super().__init__(f"block {block}")
        self.block = block


class Hint:
    """A byte for each block of a disk: 10 MB for 10 TB, whatever the ranges are.

    ranges: what may differ, in bytes as (start, end). named, sampled: numbers of blocks.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]], block: int, blocks: int) -> None:
        self._block = block
        self._blocks = blocks
        self._state = bytearray(blocks)
        for start, end in ranges:
            self._mark(start, end, CHANGED)
        self.named = self._state.count(CHANGED)
        self.sampled = 0

    def _mark(self, start: int, end: int, state: int) -> None:
        first, last = start // self._block, min(-(-end // self._block), self._blocks)
        if start < end and first < last:
            self._state[first:last] = bytes([state]) * (last - first)

    def sample(self, data: Iterable[tuple[int, int]], percent: int) -> None:
        """Choose blocks to be read among those that are not named and lie in the byte ranges `data`."""
        changed = bytes(self._state)
        for start, end in data:
            self._mark(start, end, DATA)
        for found in re.finditer(b"\x03+", changed):
            self._state[found.start() : found.end()] = found[0]
        there = self._state.count(DATA)
        self.sampled = min(there, max(LEAST, -(-there * percent // 100)))
        chosen = sorted(random.SystemRandom().sample(range(there), self.sampled), reverse=True)
        passed = 0
        for run in list(RUNS.finditer(bytes(self._state))):
            length = run.end() - run.start()
            while chosen and chosen[-1] < passed + length:
                self._state[run.start() + chosen.pop() - passed] = SAMPLED
            passed += length

    def names(self, block: int) -> bool:
        """Whether the block was said to have changed."""
        return self._state[block] == CHANGED

    def changed(self, first: int, last: int) -> bool:
        """Whether any block of [first, last) was."""
        return CHANGED in self._state[first:last]

    def samples(self, first: int, last: int) -> list[int]:
        """The blocks of [first, last) to be read all the same."""
        return [first + at for at, state in enumerate(self._state[first:last]) if state == SAMPLED]

    def silent(self, first: int, last: int) -> bool:
        """Whether nothing of [first, last) is to be read."""
        part = self._state[first:last]
        return CHANGED not in part and SAMPLED not in part
