"""Garbage collection that holds nobody up: condemn, wait for no one, copy what lives, delete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from engines.backup.errors import Damaged
from engines.backup.repository import catalogue, merge, pack, packs_to_delete, quarantine, record, sessions
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import KEPT, Presence, Session
from engines.backup.repository.writer import Writer
from engines.backup.store.store import side_by_side
from engines.backup.store.uplink import Uplink
from engines.backup.upkeep import lease
from engines.backup.upkeep.locks import Locks
from engines.backup.upkeep.mark import Marks, roots

DEAD = 0.3  # share of a pack that may be unneeded before it is rewritten
SMALL = 16  # a pack under a 16th of the usual size is small
FEW = 8  # small packs that may lie about
LOCKED_DEAD = 0.5  # the same share of a locked pack: it takes its room until the lock ends, whatever is copied out


@dataclass
class Freed:
    """What gc did: points let go, packs deleted, bytes freed; `waits` says what is left to the next one, and why.

    dead: bytes that no point needs, before anything was deleted. locked: bytes of `freed` that stay as old versions
    until `until`, a Unix time, because they are locked.
    """

    points: int = 0
    packs: int = 0
    freed: int = 0
    copied: int = 0
    dead: int = 0
    locked: int = 0
    until: float = 0.0
    waits: list[str] = field(default_factory=list)


class Collection:
    """One gc at work."""

    def __init__(
        self,
        repository: Repository,
        presence: Presence,
        threshold: float = DEAD,
        locks: Locks | None = None,
        uplink: Uplink | None = None,
    ) -> None:
        """threshold: share of a pack that may be dead before it is written anew. uplink: how fast that may go."""
        self._threshold = threshold
        self.locks = locks or Locks("")
        self._repository = repository
        self._store = repository.store
        self._presence = presence
        self._writer = Writer(repository, presence, uplink)
        self.done = Freed()

    def let_go(self) -> None:
        """Delete pruned points, except those that a live session works with, and what killed processes left."""
        self._store.sweep()
        pins = {pin for session in sessions.living(self._store) for pin in session.pins}
        for name in self._repository.names("pruned"):
            if name.path() in pins:
                self.done.waits.append(f"{name} is still being used")
                continue
            self._store.delete(name.path("pruned"))
            self.done.points += 1

    def mark(self) -> Iterator[tuple[int, int]]:
        """Mark and condemn; yields (points done, all)."""
        catalogue.look(self._repository, self._presence)
        yield from self._marked()
        self._condemned = self._candidates()
        if self._condemned:
            packs_to_delete.put(self._store, self._presence.session.id, self._condemned)

    def _marked(self) -> Iterator[tuple[int, int]]:
        lists = packs_to_delete.every(self._store)
        doomed = {found for packs in lists.values() for found in packs}
        self._writing = [s for s in sessions.living(self._store) if s.kind == "write"]
        self._roots = roots(self._repository)
        self._marks = Marks(self._repository, doomed)
        for at, (folder, name) in enumerate(self._roots):
            self._marks.point(folder, name)
            self._presence.touch()
            yield at + 1, len(self._roots)

    def _candidates(self) -> set[bytes]:
        """Packs worth rewriting or deleting that nobody still writes for."""
        live = self._marks.live()
        small: set[bytes] = set()
        found: set[bytes] = set()
        spared = self._spared()
        mostly: list[bytes] = []
        self.done.dead = 0
        for owner, size, looked in side_by_side(self._store, self._looked_at, list(self._repository.index.present)):
            if looked is None or looked[0].hex() in spared:
                continue
            places = looked[1]
            self.done.dead += max(size - live.get(owner, 0) - _overhead(places), 0)
            if places is None or self._wasteful(places, size, live.get(owner, 0)):
                found.add(owner)
                if places is not None and live.get(owner, 0) > size * (1 - LOCKED_DEAD):
                    mostly.append(owner)
                continue
            if size < self._repository.config.pack // SMALL:
                small.add(owner)
        held = self.locks.until([pack.name(owner) for owner in mostly])
        found -= {owner for owner in mostly if pack.name(owner) in held}
        return found | small if len(small) > FEW else found

    def _wasteful(self, places: list[RecordPlace], size: int, needed: int) -> bool:
        """Whether much of a sound pack is not needed; of one that an unchanged backup left, its point is."""
        if needed >= size * (1 - self._threshold):
            return False
        points = {place.id for place in places if place.kind == record.POINT}
        return bool(needed) or not points & self._marks.points

    def _looked_at(self, owner: bytes) -> tuple[bytes, int, tuple[bytes, list[RecordPlace] | None] | None]:
        """A pack, its size, and (session that wrote it, its records by its footer): nothing where it is gone.

        The records are None where its frame is broken.
        """
        name, size = pack.name(owner), self._repository.index.sizes.get(owner, 0)
        try:
            size = size or self._store.size(name)  # it was sealed by this run
            known, session = pack.parse_front(self._store.read(name, 0, pack.FRONT_SIZE), name, self._repository.id)
            if known != owner:
                return owner, size, (b"", None)
        except Damaged:
            return owner, size, (b"", None)
        except FileNotFoundError:
            return owner, size, None
        try:
            return owner, size, (session, pack.read_footer(self._store, owner, size)[0])
        except Damaged:
            return owner, size, (session, None)
        except FileNotFoundError:
            return owner, size, None

    def _spared(self) -> set[str]:
        """Sessions whose packs stay: those at work, and those that were killed not long ago."""
        spared = {session.id for session in self._writing}
        for session in sessions.killed(self._store):
            if session.kind == "write" and self._age(session) < KEPT:
                spared.add(session.id)
        return spared

    def _age(self, session: Session) -> float:
        try:
            return self._store.age(session.path)
        except FileNotFoundError:
            return KEPT

    def sweepable(self) -> Iterator[tuple[int, int]]:
        """Find out which condemned packs may go now, marking again where the world moved on."""
        lists = packs_to_delete.every(self._store)
        before = {session.id for session in self._writing}
        writing = [session for session in sessions.living(self._store) if session.kind == "write"]
        self._lists = {
            name for name in lists if all(session.sees is not None and name in session.sees for session in writing)
        }
        for session in writing:
            if not set(lists) <= set(session.sees or ()):
                self.done.waits.append(session.explained(alive=True))
        if before or writing or set(roots(self._repository)) != set(self._roots):
            self._repository.load()
            yield from self._marked()
            self._condemned = self._candidates()
        ripe = {found for name in self._lists for found in lists[name]}
        self._ripe = sorted(self._condemned & ripe & self._repository.index.present)

    def copy(self) -> Iterator[tuple[int, int]]:
        """Copy what is needed out of the packs that go; yields (packs done, all)."""
        needed = self._marks.offsets(self._ripe)
        for at, owner in enumerate(self._ripe):
            self._copy(owner, needed[owner])
            self._presence.touch()
            yield at + 1, len(self._ripe)
        self._writer.finish()
        self.done.copied = self._writer.written

    def _copy(self, owner: bytes, needed: set[int]) -> None:
        name = pack.name(owner)
        size = self._store.size(name)
        try:
            places, _ = pack.read_footer(self._store, owner, size)
        except Damaged:
            places = [place for place, _ in pack.walk(self._store, name, owner, size)]
        for place in places:
            self._presence.touch()
            if place.offset in needed or (place.kind == record.POINT and place.id in self._marks.points):
                raw = memoryview(self._store.read(name, place.offset, place.size))
                header = record.parse(raw[: record.SIZE])
                if header is None or header.id != place.id:
                    raise Damaged(f"{name} at {place.offset}", "there is no such record")
                self._repository.codec.check(header, raw[record.SIZE :], f"{name} at {place.offset}")
                self._writer.add(bytes(raw[: record.SIZE]), raw[record.SIZE :], header)

    def delete(self) -> None:
        """Publish the index without the packs that go, then delete them. Raises Failed where another gc took over."""
        lease.demand(self._store, self._presence)
        index = self._repository.index
        if self._ripe or index.lost or len(index.segments) > FEW:
            index.flush(always=True)
            merge.merge(self._store, self._repository.id, list(index.segments), index.present - set(self._ripe))
        held = self.locks.until([pack.name(owner) for owner in self._ripe])
        self.done.until = max(held.values(), default=0.0)
        for owner in self._ripe:
            size = self._store.size(pack.name(owner))
            self.done.locked += size if pack.name(owner) in held else 0
            self._store.delete(pack.name(owner))
            self.done.packs += 1
            self.done.freed += size
        index.forget(self._ripe)
        for name in self._lists:
            packs_to_delete.drop(self._store, name)
        for session in sessions.killed(self._store):
            if session.kind != "write" or self._age(session) >= KEPT:
                self._store.delete(session.path)
        for name in _healed(self._repository):
            self._store.delete(name)


def _overhead(places: list[RecordPlace] | None) -> int:
    """Bytes of a pack that are no records: its frame, and points, which are not counted as needed."""
    if places is None:
        return 0
    frame = pack.FRONT_SIZE + pack.TRAILER_SIZE + len(places) * pack.ENTRY.size
    return frame + sum(place.size for place in places if place.kind == record.POINT)


def _healed(repository: Repository) -> list[str]:
    """Quarantine entries whose pack is gone, and what was noted beside them."""
    present = {pack_id.hex() for pack_id in repository.index.present}
    names = list(repository.store.names("quarantine"))
    return [name for name in names if (owner := quarantine.pack_of(name)) and owner not in present]
