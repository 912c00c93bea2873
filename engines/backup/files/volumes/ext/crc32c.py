"""CRC-32C of many equal blocks at once, as ext4 and its journal use it: without inversion at the end."""

from __future__ import annotations

import struct
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
BATCH = 4 * 1024 * 1024  # bytes
K = TypeVar("K", bound=Hashable)
LANE = 64  # bytes that are worked through one by one; lanes side by side


@lru_cache(maxsize=1)
def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return tuple(found)


@lru_cache(maxsize=1)
def _pairs() -> tuple[int, ...]:
    """Two bytes at a time take half as long."""
    table = _table()
    once = (table[value & 0xFF] ^ value >> 8 for value in range(65536))
    return tuple(table[value & 0xFF] ^ value >> 8 for value in once)


def crc32c(raw: bytes, seed: int = 0xFFFFFFFF) -> int:
    """Of one short piece."""
    table, crc = _pairs(), seed
    for pair in struct.unpack_from(f"<{len(raw) // 2}H", raw):
        crc = table[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    return _table()[(crc ^ raw[-1]) & 0xFF] ^ crc >> 8 if len(raw) % 2 else crc


def crc32c_blocks(raw: bytes, block: int, seeds: Sequence[int]) -> list[int]:
    """Of each `block` bytes of `raw`, each from its seed; `block` is LANE times a power of two."""
    import numpy as np

    table = np.array(_table(), dtype=np.uint32)
    lanes = np.frombuffer(raw, dtype=np.uint8).reshape(-1, LANE)
    crc = np.zeros(len(lanes), dtype=np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> np.uint32(8))
    length = LANE
    while length < block:
        crc = _advanced(crc[0::2], length) ^ crc[1::2]
        length *= 2
    found: list[int] = (crc ^ _advanced(np.array(seeds, dtype=np.uint32), block)).tolist()
    return found


class Checks(Generic[K]):
    """Blocks with the CRC that each must have, worked out many at once; `wrong` holds the keys of those that do not.

    mask: which bits of a CRC were kept.
    """

    def __init__(self, block: int, mask: int = 0xFFFFFFFF) -> None:
        self.wrong: set[K] = set()
        self._block = block
        self._mask = mask
        self._waiting: list[tuple[bytes, int, int, K]] = []

    def add(self, raw: bytes, seed: int, wanted: int, key: K) -> None:
        """One more."""
        self._waiting.append((raw, seed, wanted, key))
        if len(self._waiting) * self._block >= BATCH:
            self.end()

    def end(self) -> set[K]:
        """Work out what waits."""
        if self._waiting:
            whole = b"".join(each[0] for each in self._waiting)
            found = crc32c_blocks(whole, self._block, [each[1] for each in self._waiting])
            for crc, (_, _, wanted, key) in zip(found, self._waiting, strict=True):
                if crc & self._mask != wanted:
                    self.wrong.add(key)
            self._waiting = []
        return self.wrong


def _advanced(crc: Words, length: int) -> Words:
    """What each CRC becomes after `length` bytes of zeros."""
    tables = _zeros(length)
    found: Words = tables[0][crc & 0xFF]
    for at in (1, 2, 3):
        found = found ^ tables[at][crc >> 8 * at & 0xFF]
    return found


@lru_cache(maxsize=32)
def _zeros(length: int) -> Words:
    """By byte of a CRC, what its values become after `length` bytes of zeros; a power of two."""
    import numpy as np

    every = np.arange(256, dtype=np.uint32)
    parts = np.stack([every << np.uint32(shift) for shift in (0, 8, 16, 24)])
    if length == 1:
        table = np.array(_table(), dtype=np.uint32)
        once: Words = table[parts & 0xFF] ^ (parts >> np.uint32(8))
        return once
    return _advanced(_advanced(parts, length // 2), length // 2)
