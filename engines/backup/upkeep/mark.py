"""What points still need: every record marked at one place, and what that leaves of each pack."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from engines.backup.errors import Damaged, Missing
from engines.backup.names import PointName
from engines.backup.repository.keys import ZERO
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.repository.segment import Segment
from engines.job.errors import Failed

Array = np.ndarray[Any, Any]


def roots(repository: Repository) -> list[tuple[str, PointName]]:
    """Every point as (folder, name). Looked for twice, since prune and its undo move them the one and the other way."""
    found: dict[tuple[str, PointName], None] = {}
    for folder in ("points", "pruned", "points"):
        found |= dict.fromkeys((folder, name) for name in repository.names(folder))
    return list(found)


class Marks:
    """The marked records of an index, `avoid` packs only where no other place is left. `points` are ids of points."""

    def __init__(self, repository: Repository, avoid: Iterable[bytes]) -> None:
        self._repository = repository
        self._avoid = frozenset(avoid)
        self._segments: list[Segment] = list(repository.index.segments)
        self._marked = [np.zeros(segment.count, dtype=bool) for segment in self._segments]
        self._numbers = [self._classes(segment) for segment in self._segments]
        self._tail: dict[bytes, list[RecordPlace]] = {}
        for place in repository.index.tail():
            self._tail.setdefault(place.id, []).append(place)
        self._places: set[tuple[bytes, int]] = set()
        self._size: dict[bytes, int] = {}
        self._seen: set[bytes] = {ZERO}
        self.points: set[bytes] = set()
        self.missing = 0

    def _classes(self, segment: Segment) -> Array:
        """By the segment's own pack number: 2 to be preferred, 1 to be avoided, 0 gone."""
        present = self._repository.index.present
        return np.array(
            [(2 - (pack in self._avoid)) * (pack in present) for pack in segment.packs] or [0], dtype=np.uint8
        )

    def point(self, folder: str, name: PointName) -> None:
        """Mark all that a point needs. Raises Failed where that cannot be known."""
        try:
            found, own = self._repository.point(name, folder), self._repository.point_id(name, folder)
        except FileNotFoundError:
            return  # it moved between points and pruned; it is marked there
        except Damaged as damaged:
            raise _unknown(str(name), damaged) from None
        self.points.add(own)
        for number, map_ in enumerate(found.maps):
            if map_ not in self._seen:
                self._seen.add(map_)
                self.map(found, number, map_)

    def map(self, point: Point, number: int, name: bytes) -> int:
        """Mark one map and what it names; how many of those lie nowhere. Raises Failed where that cannot be known."""
        before = self.missing
        try:
            ids = self._repository.map(point, number)
        except (Damaged, Missing) as error:
            raise _unknown(str(point.name), error) from None
        self._mark(np.frombuffer(name, dtype="<u8").reshape(1, 4))
        rows = np.frombuffer(ids, dtype="<u8").reshape(-1, 4)
        self._mark(rows[rows.any(axis=1)])
        return self.missing - before

    def _mark(self, ids: Array) -> None:
        """Mark ids, an array of four u64 each, at one place each."""
        left = ids
        for wanted in (2, 1):
            for at in range(len(self._segments)):
                left = self._in_segment(at, left, wanted)
            left = self._in_tail(left, wanted)
        self.missing += len(left)

    def _in_segment(self, at: int, ids: Array, wanted: int) -> Array:
        segment, classes, marked = self._segments[at], self._numbers[at], self._marked[at]
        if not len(ids) or not segment.count:
            return ids
        keys, entries = segment.keys(), segment.entries()
        place = np.searchsorted(keys, ids[:, 0])
        found = np.zeros(len(ids), dtype=bool)
        while True:
            here = np.minimum(place, segment.count - 1)
            near = (place < segment.count) & (keys[here] == ids[:, 0]) & ~found
            if not near.any():
                return ids[~found]
            rows = entries[here[near]]
            same = (np.ascontiguousarray(rows["id"]).view("<u8").reshape(-1, 4) == ids[near]).all(axis=1)
            same &= classes[np.minimum(rows["pack"], len(classes) - 1)] == wanted
            same &= self._usable(segment, rows)
            hits = np.flatnonzero(near)[same]
            found[hits] = True
            marked[here[hits]] = True
            place = place + 1

    def _usable(self, segment: Segment, rows: Array) -> Array:
        bad = self._repository.index.bad
        if not bad:
            return np.ones(len(rows), dtype=bool)
        return np.array([(segment.packs[row["pack"]], int(row["offset"])) not in bad for row in rows], dtype=bool)

    def _in_tail(self, ids: Array, wanted: int) -> Array:
        if not self._tail:
            return ids
        keep = [not self._tail_one(row.tobytes(), wanted) for row in ids]
        return ids[np.array(keep, dtype=bool)] if len(ids) else ids

    def _tail_one(self, name: bytes, wanted: int) -> bool:
        for place in self._tail.get(name, ()):
            usable = (place.pack, place.offset) not in self._repository.index.bad
            if usable and 2 - (place.pack in self._avoid) == wanted:
                if (place.pack, place.offset) not in self._places:
                    self._places.add((place.pack, place.offset))
                    self._size[place.pack] = self._size.get(place.pack, 0) + place.size
                return True
        return False

    def live(self) -> dict[bytes, int]:
        """Bytes that are needed of each pack, points not counted; packs that nothing needs are left out."""
        total = dict(self._size)
        for segment, marked in zip(self._segments, self._marked, strict=True):
            rows = segment.entries()[marked]
            sums = np.bincount(rows["pack"], weights=rows["stored"].astype(np.float64) + 64)
            for number in np.flatnonzero(sums):
                pack = segment.packs[number]
                total[pack] = total.get(pack, 0) + int(sums[number])
        return total

    def offsets(self, packs: Collection[bytes]) -> dict[bytes, set[int]]:
        """By pack: where in it the marked records begin. One pass over the index for all of them."""
        found: dict[bytes, set[int]] = {pack: set() for pack in packs}
        for owner, offset in self._places:
            if owner in found:
                found[owner].add(offset)
        for segment, marked in zip(self._segments, self._marked, strict=True):
            wanted = np.array([pack in found for pack in segment.packs] or [False], dtype=bool)
            if not wanted.any():
                continue
            rows = segment.entries()[marked]
            for row in rows[wanted[rows["pack"]]]:
                found[segment.packs[row["pack"]]].add(int(row["offset"]))
        return found


def _unknown(point: str, error: Exception) -> Failed:
    return Failed(
        f"what {point} needs cannot be known ({error})",
        f"back that disk up, which may heal it; else give it up: crashcart backup prune --drop {point}; then gc",
    )
