"""One index file, mapped: where the records of some packs lie, found by the first 8 bytes of their ids."""

from __future__ import annotations

import bisect
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engines.backup.errors import Damaged
from engines.backup.pages import mapping
from engines.backup.repository import record
from engines.backup.repository.pack import RecordPlace
from engines.backup.store.store import Store

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"CCINDX\x00\x01"
HEADER = struct.Struct("<8s16sIIQQQ")
SIZE = 64
ENTRY = struct.Struct("<32sIIIIBBB5x")
CHECKED = 16 * 1024 * 1024  # bytes of a body that is checked on opening; a longer one is left to verify


class Segment:
    """A read-only index file."""

    def __init__(self, store: Store, name: str, repository: bytes) -> None:
        """Raises Damaged, FileNotFoundError."""
        self.name = name
        descriptor = os.open(store.local(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            size = os.fstat(descriptor).st_size
            if size < SIZE:
                raise Damaged(name, "it is shorter than its header")
            self._map = mapping.readable(descriptor, size)
        finally:
            os.close(descriptor)
        self._parse(repository, size)

    def _parse(self, repository: bytes, size: int) -> None:
        import xxhash

        raw = self._map[:SIZE]
        if xxhash.xxh3_64_intdigest(raw[:56]) != int.from_bytes(raw[56:], "little"):
            raise Damaged(self.name, "its header does not fit its check")
        magic, owner, packs, zero, count, check, zeros = HEADER.unpack(raw[:56])
        self.count: int = count
        self.check: int = check
        if magic != MAGIC or owner != repository or zero or zeros:
            raise Damaged(self.name, "it is no index of this repository")
        self._keys_at = SIZE + packs * 16
        self._entries_at = self._keys_at + self.count * 8
        if self._entries_at + self.count * ENTRY.size != size:
            raise Damaged(self.name, "its length does not fit its header")
        self.packs = [self._map[SIZE + at * 16 : SIZE + at * 16 + 16] for at in range(packs)]
        if size - SIZE <= CHECKED and not self.whole():
            raise Damaged(self.name, "its body does not fit its check")
        self._view = memoryview(self._map)
        self._keys: memoryview[int] = self._view[self._keys_at : self._entries_at].cast("Q")

    def whole(self) -> bool:
        """Whether the body fits its check."""
        import xxhash

        hasher = xxhash.xxh3_64()
        with memoryview(self._map) as view:
            for at in range(SIZE, len(view), CHECKED):
                hasher.update(view[at : at + CHECKED])
        return int(hasher.intdigest()) == self.check

    def find(self, name: bytes) -> Iterator[RecordPlace]:
        """Every place of the record with that id."""
        key = int.from_bytes(name[:8], "little")
        at = bisect.bisect_left(self._keys, key)
        while at < self.count and self._keys[at] == key:
            place = self.place(at)
            if place.id == name:
                yield place
            at += 1

    def place(self, at: int) -> RecordPlace:
        """The entry with that number. Raises Damaged."""
        name, pack, offset, stored, length, kind, codec, cipher = ENTRY.unpack_from(
            self._map, self._entries_at + at * ENTRY.size
        )
        if pack >= len(self.packs) or kind not in record.LONGEST or length > record.LONGEST[kind]:
            raise Damaged(self.name, f"its entry {at} is out of bounds")
        if stored > length + record.OVERHEAD:
            raise Damaged(self.name, f"its entry {at} is out of bounds")
        return RecordPlace(name, self.packs[pack], offset, stored, length, kind, codec, cipher)

    def of(self, pack: bytes) -> list[RecordPlace]:
        """All places in one pack, by offset."""
        if pack not in self.packs:
            return []
        import numpy as np

        rows = np.flatnonzero(self.entries()["pack"] == self.packs.index(pack))
        return sorted((self.place(int(row)) for row in rows), key=lambda place: place.offset)

    def keys(self) -> np.ndarray[Any, Any]:
        """The 8-byte prefixes, ascending, as a mapped array of u64."""
        import numpy as np

        return np.frombuffer(self._map, dtype="<u8", count=self.count, offset=self._keys_at)

    def entries(self) -> np.ndarray[Any, Any]:
        """The entries as a mapped structured array."""
        import numpy as np

        return np.frombuffer(self._map, dtype=np.dtype(FIELDS), count=self.count, offset=self._entries_at)


FIELDS = [
    ("id", "V32"),
    ("pack", "<u4"),
    ("offset", "<u4"),
    ("stored", "<u4"),
    ("length", "<u4"),
    ("kind", "u1"),
    ("codec", "u1"),
    ("cipher", "u1"),
    ("zero", "V5"),
]


def header(repository: bytes, packs: int, count: int, check: int) -> bytes:
    """The 64 bytes that an index file begins with."""
    import xxhash

    packed = HEADER.pack(MAGIC, repository, packs, 0, count, check, 0)
    return packed + xxhash.xxh3_64_intdigest(packed).to_bytes(8, "little")


def write(store: Store, repository: bytes, places: list[RecordPlace], packs: list[bytes]) -> str:
    """A new index file of some packs and their places, which must fit in memory; its name."""
    import xxhash

    numbers = {pack: number for number, pack in enumerate(packs)}
    rows = sorted((int.from_bytes(place.id[:8], "little"), at) for at, place in enumerate(places))
    keys = b"".join(key.to_bytes(8, "little") for key, _ in rows)
    ordered = (places[at] for _, at in rows)
    entries = b"".join(
        ENTRY.pack(p.id, numbers[p.pack], p.offset, p.stored, p.length, p.kind, p.codec, p.cipher) for p in ordered
    )
    body = b"".join([*packs, keys, entries])
    name = f"index/{os.urandom(16).hex()}.idx"
    store.put(name, header(repository, len(packs), len(places), xxhash.xxh3_64_intdigest(body)) + body)
    return name
