"""How a new point comes to be: what it builds on, and the order in which it is committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.repository import pack, packs_to_delete, record, sessions, spelling
from engines.backup.repository.point import Point, encode
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.writer import Writer
from engines.job.errors import Failed

FEW = 500  # packs that are asked for one by one rather than listed with all others


def parents_of(repository: Repository, vm: str, disks: Sequence[str], presence: Presence) -> list[Point | None]:
    """The newest readable point of each disk, pinned so that prune and gc leave it alone."""
    pins: tuple[str, ...] = ()
    found: list[Point | None] = []
    for disk in disks:
        found.append(_newest(repository, vm, disk, presence, pins))
        parent = found[-1]
        pins += (parent.name.path(),) if parent else ()
    presence.update(pins=pins)
    return found


def _newest(repository: Repository, vm: str, disk: str, presence: Presence, pins: tuple[str, ...]) -> Point | None:
    for name in reversed(repository.disks(vm, disk)):
        presence.update(pins=(*pins, name.path()))
        try:
            return repository.point(name)  # read after it was pinned: had prune taken it, it would not be there
        except (FileNotFoundError, Damaged):
            continue
    return None


def look(repository: Repository, presence: Presence) -> None:
    """Read the index as a writer must: what gc is about to delete is known before anything is taken for stored."""
    seen = packs_to_delete.every(repository.store)
    presence.update(sees=tuple(sorted(seen)))
    repository.index.condemned = frozenset(doomed for packs in seen.values() for doomed in packs)
    repository.load()
    adopt_parts(repository, presence)


def adopt_parts(repository: Repository, presence: Presence) -> int:
    """Seal the open packs of those who are gone; how many records they held."""
    parts = repository.index.parts
    if not parts:
        return 0
    living = {
        session.id for session in sessions.living(repository.store)
    }  # after the parts: who began later has none here
    found = 0
    for name in parts:
        owner = name.removeprefix("packs/").split(".")[0]
        pack_id = name.removesuffix(".part").rpartition(".")[2]
        if owner in living or not (names.HEX32.match(owner) and names.HEX32.match(pack_id)):
            continue
        try:
            places = pack.recover(repository.store, name, repository.id, presence.key)
        except FileNotFoundError:
            continue
        if places:
            presence.stores = True
            repository.index.add(places[0].pack, places)
            found += len(places)
    return found


def commit(
    repository: Repository, writer: Writer, points: Sequence[Point], made: Callable[[Point], None] = lambda _: None
) -> list[Point]:
    """Make the points known, last of all; they come back with the time that each got. Raises Refused.

    made: told of each as soon as it is there.
    """
    spelling.refuse_twin(repository, {(point.head.vm, point.head.disk) for point in points})
    encoded = [_added(repository, writer, point) for point in points]
    _seal(repository, writer)
    known = []
    for point, raw in zip(points, encoded, strict=True):
        known.append(_put(repository, writer, point, raw))
        made(known[-1])
    return known


def _added(repository: Repository, writer: Writer, point: Point) -> bytes:
    content = encode(point)
    name = repository.codec.id(record.POINT, content)
    front, payload, header = repository.codec.encode(record.POINT, name, content)
    writer.add(front, payload, header)
    return front + bytes(payload)


def _seal(repository: Repository, writer: Writer) -> None:
    writer.finish()
    _all_there(repository, writer)
    repository.index.flush()


def _put(repository: Repository, writer: Writer, point: Point, raw: bytes) -> Point:
    while True:
        try:
            repository.store.put(point.name.path(), raw, new=True)
            return point
        except FileExistsError:  # another backup of the disk, in the same second: no more of one moment with others
            head = point.head
            after = names.stamp(names.seconds(head.time) + 1)
            head = msgspec.structs.replace(head, time=after, taken=head.taken or head.time, together=())
            point = Point(head, point.maps)
            raw = _added(repository, writer, point)
            _seal(repository, writer)


def _all_there(repository: Repository, writer: Writer) -> None:
    """A pack that went missing meanwhile must not be promised."""
    needed = sorted(pack.name(used) for used in {*writer.used, *writer.packs})
    store = repository.store
    gone = store.missing(needed) if len(needed) < FEW else set(needed).difference(store.names("packs"))
    for name in sorted(gone):
        raise Failed(
            f"{name} went away while it was needed", "no point was made; run it again, then look who deletes there"
        )


def next_time(now: float, parent: Point | None) -> str:
    """The time of a new point: now, but always after its parent, whatever the clock did."""
    if parent is None:
        return names.stamp(now)
    return names.stamp(max(now, names.seconds(parent.head.time) + 1))
