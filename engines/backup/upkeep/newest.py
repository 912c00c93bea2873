"""The newest point of every disk, and whether all that it needs is there: what a morning goes by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from engines.backup.errors import Damaged, FarFailed
from engines.backup.names import PointName, guest_of
from engines.backup.repository import pack, quarantine, record
from engines.backup.repository.index import Index
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import Head, Point
from engines.backup.repository.repository import Repository
from engines.backup.repository.segment import Segment
from engines.backup.repository.verified import last_verified
from engines.backup.store.store import Store, side_by_side
from engines.backup.upkeep import proven
from engines.backup.upkeep.mark import Marks
from engines.job.errors import Failed


class Newest(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of one guest in a repository. guest: its UUID by the points' tags, empty where they have none.

    taken: Unix time in s at which its newest point was begun; sizes in bytes.

    points: how many it has; stored: what all of them have brought. verified: when the newest was proven whole, or
    empty. trouble: why the newest is not to be counted on; empty where every block of it lies in a pack that is there.
    good: when the newest point without trouble was begun; None where none of those looked at is.
    """

    vm: str
    disk: str
    point: str
    taken: float
    good: float | None
    points: int
    size: int = 0
    changed: int = 0
    stored: int = 0
    host: str = ""
    consistency: str = ""
    verified: str = ""
    trouble: str = ""
    guest: str = ""


LOOKED_BACK = 5  # points of a disk that are tried where the newest is in trouble
LISTINGS = 3  # times that packs are listed anew where one went meanwhile


def newest(repository: Repository, wanted: Callable[[str], bool] = lambda _: True) -> list[Newest]:
    """Each disk of the VMs that `wanted` takes by name, a row for each guest that has points of it. Raises Failed where
    the repository cannot be read.
    """
    names = [name for name in repository.names() if wanted(name.vm)]
    heads = repository.heads(names)
    names = [name for name in names if name in heads]  # prune may have been here meanwhile
    repository.load()
    damaged = {point for bad in quarantine.every(repository.store) for point in bad.points if _lost(repository, bad.id)}
    verified = last_verified(repository.store)
    groups = list(_by_guest(names, heads))
    present = _sound(repository, damaged, [points for _, points in groups])
    rows = []
    for guest, points in groups:
        last = points[-1]
        vm, disk = last.vm, last.disk
        head = heads[last]
        found = Newest(
            vm=vm, disk=disk, point=str(last), taken=last.moment / 1e9, good=None, points=len(points),
            guest=guest,
        )  # fmt: skip
        stored = sum(one.figures.stored for name in points if isinstance(one := heads[name], Head))
        if isinstance(head, Head):
            found = msgspec.structs.replace(
                found, taken=head.real, size=head.size, changed=head.figures.changed, stored=stored, host=head.host,
                consistency=head.consistency, verified=verified.get(str(last), ""),
            )  # fmt: skip
        trouble = present.trouble(last)
        rows.append(msgspec.structs.replace(found, trouble=trouble, good=_good(present, points, heads)))
    return rows


def _by_guest(names: list[PointName], heads: dict[PointName, Head | Damaged]) -> Iterator[tuple[str, list[PointName]]]:
    """The points of each disk by whose they are; one that cannot be read is taken for that of whose point is before."""
    for _, own in groupby(names, key=lambda name: (name.vm, name.disk)):
        points: dict[str, list[PointName]] = {}
        unread: list[PointName] = []
        guest = None
        for name in own:
            head = heads[name]
            guest = guest_of(head.tags) if isinstance(head, Head) else guest
            if guest is None:
                unread.append(name)
            else:
                points.setdefault(guest, []).extend([*unread, name])
                unread = []
        yield from sorted({**points, **({"": unread} if unread else {})}.items())


def _good(present: _Present, points: list[PointName], heads: dict[PointName, Head | Damaged]) -> float | None:
    """When the newest that is whole was begun."""
    name = present.whole(points)
    if name is None:
        return None
    head = heads[name]
    return head.real if isinstance(head, Head) else name.moment / 1e9


def _sound(repository: Repository, damaged: set[str], groups: list[list[PointName]]) -> _Present:
    """By what they are judged: no pack that their newest whole points need is cut, or went since it was listed."""
    left_out: set[bytes] = set()  # it only grows: whoever lists the packs anew knows all of them again
    ends = proven.known(repository)
    listings = LISTINGS
    while True:
        present = _Present(repository, damaged, left_out)
        for points in groups:
            present.whole(points)
        torn, gone = present.torn(ends)
        if gone and listings:  # gc may have moved what was in them
            listings -= 1
            repository.load()
        elif not torn | gone:
            proven.keep(repository, ends, repository.index.present)
            return present
        else:
            left_out |= gone
        left_out |= torn


def _lost(repository: Repository, record: str) -> bool:
    return not any(True for _ in repository.index.find(bytes.fromhex(record)))


class _Present:
    """Whether points are all there; a map that they share is looked up once."""

    def __init__(self, repository: Repository, damaged: set[str], left_out: Collection[bytes] = ()) -> None:
        repository.index.forget(_cut(repository).union(left_out))
        self._repository = repository
        self._marks = Marks(repository, ())
        self._damaged = damaged
        self._known: dict[PointName, str] = {}
        self._lacking: dict[bytes, int] = {ZERO: 0}

    def trouble(self, name: PointName) -> str:
        """Why not; empty where it is."""
        if name not in self._known:
            self._known[name] = self._look(name)
        return self._known[name]

    def whole(self, points: list[PointName]) -> PointName | None:
        """The newest of a disk that is, of the last ones."""
        return next((name for name in reversed(points[-LOOKED_BACK:]) if not self.trouble(name)), None)

    def torn(self, ends: dict[tuple[bytes, int], bool]) -> tuple[set[bytes], set[bytes]]:
        """Packs of what was looked at that do not end as one does, or cannot be read; and those that are gone.

        An index file names no points' records, so that of those behind the others only the trailer tells whether they
        are all there: 40 bytes are read of each pack that is longer than its other records. ends: what is known of
        each pack and size, read before or on another day; it is added to.
        """
        index, store = self._repository.index, self._repository.store
        known, live = _known(index), self._marks.live()
        gone = {one for one in live if one not in index.sizes}
        longer = [(one, index.sizes[one]) for one in live if one not in gone and index.sizes[one] > known.get(one, 0)]
        asked = [one for one in longer if one not in ends]
        for one, whole in side_by_side(store, lambda one: (one, _whole(store, *one)), asked):
            if whole is None:
                gone.add(one[0])
            else:
                ends[one] = whole
        return {one[0] for one in longer if not ends.get(one, True)}, gone

    def _look(self, name: PointName) -> str:
        if str(name) in self._damaged:
            return "records of it are damaged: crashcart backup verify"
        try:
            point = self._repository.point(name)
            lacking = sum(self._map(point, number, map_) for number, map_ in enumerate(point.maps))
        except (Damaged, Failed) as error:
            return error.why
        except FileNotFoundError:
            return "it went away while it was looked at"
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return f"{lacking} of its blocks lie in no pack that is there" if lacking else ""

    def _map(self, point: Point, number: int, map_: bytes) -> int:
        if map_ not in self._lacking:
            self._lacking[map_] = self._marks.map(point, number, map_)
        return self._lacking[map_]


def _whole(store: Store, one: bytes, size: int) -> bool | None:
    """Whether a pack ends as one does, which one that cannot be read does not; None where it is gone."""
    try:
        return pack.sealed(store, one, size)
    except FileNotFoundError:
        return None
    except FarFailed:
        raise
    except OSError:
        return False


def _cut(repository: Repository) -> set[bytes]:
    """Packs that are shorter than what is known to lie in them, and the footer that names it."""
    index = repository.index
    ends = _known(index)
    return {one for one, end in ends.items() if one in index.sizes and index.sizes[one] < end}


def _known(index: Index) -> dict[bytes, int]:
    """By pack: bytes that it has at the least."""
    ends: dict[bytes, int] = {}
    for segment in index.segments:
        ends |= zip(segment.packs, map(int, _ends(segment)), strict=False)
    known: dict[bytes, list[int]] = {}
    for place in index.tail():
        known.setdefault(place.pack, []).append(place.offset + place.size)
    return ends | {one: max(found) + len(found) * pack.ENTRY.size + pack.TRAILER_SIZE for one, found in known.items()}


def _ends(segment: Segment) -> np.ndarray[Any, Any]:
    """The same of one index file, by its own numbers of packs."""
    entries = segment.entries()
    packs = np.minimum(entries["pack"], len(segment.packs))  # a long index is not checked when it is opened
    ends: np.ndarray[Any, Any] = np.zeros(len(segment.packs) + 1, dtype="<u8")
    np.maximum.at(ends, packs, entries["offset"].astype("<u8") + entries["stored"] + record.SIZE)
    footers = np.bincount(packs, minlength=len(ends)) * pack.ENTRY.size + pack.TRAILER_SIZE
    ends += footers.astype("<u8")
    return ends
