"""Proves that a repository still holds what it promised: every record, every frame, every point."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from engines.backup.errors import Damaged, Missing
from engines.backup.names import PointName
from engines.backup.repository import pack, quarantine, record
from engines.backup.repository.block_hashes import sound
from engines.backup.repository.keys import ZERO
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.point import Point, decode, map_length
from engines.backup.repository.repository import Repository
from engines.backup.upkeep.records import Findings
from engines.job.errors import Refused


@dataclass
class Damage:
    """What is wrong. faults: files with a broken frame. bad: records. hit: damaged points, and why.

    mended: records that are in quarantine and read right again.
    """

    faults: dict[str, None] = field(default_factory=dict)
    bad: list[tuple[RecordPlace, str]] = field(default_factory=list)
    hit: dict[str, str] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)
    mended: dict[str, RecordPlace] = field(default_factory=dict)


class Verifying:
    """One verify at work. packs: what is to be read, with their bytes; read: bytes of records that were."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.found = Damage()
        self.read = 0
        self.unwritten = ""  # why what is damaged could not be taken out of use
        self._stale = False  # whether the index must be read anew before anything is called lost
        store = repository.store
        self.packs = [(owner, store.size(pack.name(owner))) for owner in sorted(repository.index.present)]

    def take(self, findings: Findings) -> None:
        """Note what reading packs found."""
        self.read += findings.read
        self.found.faults |= dict.fromkeys(findings.faults)
        self.found.bad += findings.bad
        self.found.mended |= {f"{pack.name(place.pack)} at {place.offset}": place for place in findings.mended}

    def _fault(self, damaged: Damaged) -> None:
        self.found.faults[damaged.why] = None

    # ── index, positions, points ────────────────────────────────────────────────────────────────────

    def index(self) -> None:
        """Check index files as a whole; a damaged one is removed, for its packs tell the same."""
        repository = self._repository
        for damaged in repository.index.faults:
            self._fault(damaged)
            if damaged.name.startswith("index/"):
                self._remove(damaged.name)
                self._stale = True
        for segment in repository.index.segments:
            if not segment.whole():
                self._fault(Damaged(segment.name, "its body does not fit its check"))
                self._remove(segment.name)
                self._stale = True

    def _remove(self, name: str) -> None:
        """Remove what can be made anew; where nothing can be written it stays, and is told."""
        with contextlib.suppress(OSError, Refused):
            self._repository.store.delete(name)

    def positions(self) -> None:
        """Check position arrays; a damaged one is removed, which costs the next backup a full hash."""
        for name in list(self._repository.store.names("positions")):
            if name.endswith(".pos") and not sound(self._repository.store, name):
                self._fault(Damaged(name, "it does not fit its check"))
                self._remove(name)

    def points(self) -> Iterator[int]:
        """Check that every point finds all that it needs; yields how many are done."""
        lost: dict[tuple[bytes, int], int] = {}
        self._repository.index.bad = quarantine.places(self._repository.store)
        if self._stale:
            self._repository.load()
        looked_again = self._stale
        for done, (name, found) in enumerate(self._repository.every(), 1):
            why = found.why if isinstance(found, Damaged) else self._lacks(found, lost)
            if why and not looked_again and not isinstance(found, Damaged):
                looked_again = True
                self._repository.load()  # gc may have moved it since the index was read
                lost.clear()
                why = self._lacks(found, lost)
            if why:
                self.found.hit[str(name)] = why
            else:
                self.found.whole.append(str(name))
            yield done

    def _lacks(self, point: Point, lost: dict[tuple[bytes, int], int]) -> str:
        """What a point misses, in words.

        `lost` remembers by a map and the blocks it names how many of its ids are in no pack, -1 for all.
        """
        maps = blocks = 0
        for number, name in enumerate(point.maps):
            map_ = name, map_length(point.blocks, number)
            if map_ not in lost:
                lost[map_] = self._lost(point, number)
            maps += lost[map_] < 0
            blocks += max(lost[map_], 0)
        words = [f"{blocks} blocks are lost"] if blocks else []
        return ", ".join(words + ([f"{maps} maps are lost"] if maps else []))

    def _lost(self, point: Point, number: int) -> int:
        try:
            ids = self._repository.map(point, number)
        except (Damaged, Missing):
            return -1
        names = {ids[at : at + 32] for at in range(0, len(ids), 32)} - {ZERO}
        return sum(not any(True for _ in self._repository.index.find(name)) for name in names)

    def quarantine(self) -> None:
        """Take the damaged records out of use, noting which points they hit; and those back that are not any more."""
        hit = tuple(sorted(self.found.hit))
        try:
            for place, why in self.found.bad:
                quarantine.put(self._repository.store, place, why, hit if place.kind != record.POINT else ())
            for place in self.found.mended.values():
                quarantine.end(self._repository.store, place)
        except (OSError, Refused) as error:
            self.unwritten = error.why if isinstance(error, Refused) else error.strerror or str(error)


def rebuild(repository: Repository) -> list[PointName]:
    """Make index files anew, and bring back points whose files are gone, from the packs; the points."""
    for name in list(repository.store.names("index")):
        if name.count("/") == 1 and name.endswith(".idx"):
            repository.store.delete(name)
    repository.index.forget(set(repository.index.present))
    repository.load()
    known = set(repository.store.names("points")) | set(repository.store.names("pruned"))
    back = []
    for owner in sorted(repository.index.present):
        for point in _points_in(repository, owner, known):
            known.add(point.path())
            back.append(point)
    repository.index.flush(always=True)
    return back


def _points_in(repository: Repository, owner: bytes, known: set[str]) -> Iterator[PointName]:
    """Bring back the points of one pack that are nowhere else, or whose file is broken."""
    store, file = repository.store, pack.name(owner)
    try:
        places, _ = pack.read_footer(store, owner, store.size(file))
    except Damaged:
        places = [place for place, _ in pack.walk(store, file, owner, store.size(file))]
    for place in places:
        if place.kind != record.POINT or (place.pack, place.offset) in repository.index.bad:
            continue
        try:
            found = decode(repository.read(place, record.POINT), file)
        except Damaged:
            continue
        if found.name.path("pruned") in known or (found.name.path() in known and _readable(repository, found.name)):
            continue
        store.put(found.name.path(), store.read(file, place.offset, place.size))
        yield found.name


def _readable(repository: Repository, name: PointName) -> bool:
    try:
        repository.point(name)
    except (Damaged, FileNotFoundError):
        return False
    return True
