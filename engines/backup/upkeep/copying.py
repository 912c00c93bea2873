"""Points of one repository made in another, block by block: ids, keys and ciphers may differ, contents never do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.errors import Damaged, Missing
from engines.backup.names import PointName
from engines.backup.repository import catalogue, pack, record
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import MAP, Point
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.writer import Writer
from engines.backup.store.uplink import Uplink
from engines.job.errors import Failed

AT_ONCE = 8  # blocks under way
RECENT = 2048  # maps of 16 KiB that are kept at hand
BATCH = 32  # points that are made at a time, so that small ones share a pack


class Copying:
    """One copy at work. made: points that the other repository has now. read, stored: bytes; checked: records."""

    def __init__(
        self,
        source: Repository,
        target: Repository,
        presence: Presence,
        uplink: Uplink,
        noted: Callable[[Point], None] = lambda _: None,
    ) -> None:
        """noted: told of each point as soon as the other repository has it."""
        self._noted = noted
        self._source = source
        self._target = target
        self._presence = presence
        self._writer = Writer(target, presence, uplink)
        self._maps: dict[bytes, bytes] = {ZERO: ZERO}  # ours by theirs
        self._before: dict[tuple[str, str], tuple[Point, Point]] = {}
        self._made_here: set[tuple[str, str]] = set()  # disks whose point before is of this run
        self._recent: dict[bytes, bytes] = {}  # maps that were stored since the last commit
        self._waiting: list[Point] = []
        self.made: list[str] = []
        self.read = 0
        self.checked = 0

    @property
    def stored(self) -> int:
        """Bytes written to the other repository."""
        return self._writer.written

    def before(self, name: PointName) -> None:
        """A point that both have: what did not change since needs not be read. One that cannot be read is no help."""
        self._presence.update(pins=(*self._presence.session.pins, name.path()))
        try:  # read after it was pinned: had prune taken it, it would not be there
            mine, theirs = self._target.point(name), self._source.point(name)
        except (FileNotFoundError, Damaged):
            return
        if mine.head.size == theirs.head.size:
            self._before[name.vm, name.disk] = (theirs, mine)
            self._made_here.discard((name.vm, name.disk))

    def point(self, name: PointName) -> Iterator[int]:
        """Copy one; yields the bytes of the disk that are done. Raises Missing, Damaged, Failed."""
        theirs = self._source.present(name)
        ours = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, known in enumerate(theirs.maps):
                if known not in self._maps:
                    self._maps[known] = self._map(theirs, number, pool)
                ours.append(self._maps[known])
                self._presence.touch()
                yield min((number + 1) * MAP * theirs.head.block, theirs.head.size)
        head = msgspec.structs.replace(theirs.head, session=self._presence.session.id)
        made = Point(head, tuple(ours))
        self._before[name.vm, name.disk] = (theirs, made)
        self._made_here.add((name.vm, name.disk))
        self._waiting.append(made)
        if len(self._waiting) >= BATCH or len(self._recent) > RECENT:
            self.commit()

    def _map(self, theirs: Point, number: int, pool: ThreadPoolExecutor) -> bytes:
        wanted = self._ids(self._source.map(theirs, number))
        known = self._known(theirs, number)
        new = [name for name in dict.fromkeys(wanted) if name not in known]
        known |= dict(zip(new, pool.map(self._block, new), strict=True))
        content = b"".join(known[name] for name in wanted)
        name = self._target.codec.id(record.MAP, content)
        self._writer.store(record.MAP, name, content)
        if len(self._recent) < 4 * RECENT:
            self._recent[name] = content
        return name

    def _known(self, theirs: Point, number: int) -> dict[bytes, bytes]:
        """Our ids by theirs, as the point before has them in the same map."""
        before = self._before.get((theirs.head.vm, theirs.head.disk))
        if before is None or number >= len(before[0].maps):
            return {ZERO: ZERO}
        sure = (theirs.head.vm, theirs.head.disk) in self._made_here
        try:
            before_there, before_here = self._source.map(before[0], number), self._ours(before[1], number)
            pairs = zip(self._ids(before_there), self._ids(before_here), strict=True)
            return {ZERO: ZERO, **{one: ours for one, ours in pairs if sure or self._target.index.holds(ours)}}
        except (Missing, Damaged, ValueError):
            return {ZERO: ZERO}

    def _ours(self, point: Point, number: int) -> bytes:
        """A map of ours, which may lie in the pack that is still open."""
        return self._recent.get(point.maps[number]) or self._target.map(point, number)

    def _ids(self, content: bytes) -> list[bytes]:
        return [content[at : at + 32] for at in range(0, len(content), 32)]

    def _block(self, theirs: bytes) -> bytes:
        content = self._source.fetch(theirs, record.BLOCK)
        ours = self._target.codec.id(record.BLOCK, content)
        self._writer.store(record.BLOCK, ours, content)
        self.read += len(content)
        return ours

    def commit(self) -> None:
        """Make the points that are read. Raises Failed."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            catalogue.commit(self._target, self._writer, waiting, self._note)
        self._recent.clear()

    def _note(self, made: Point) -> None:
        self.made.append(str(made.name))
        self._noted(made)

    def leave(self) -> None:
        """Something went wrong: keep what can be kept for the next try."""
        self._writer.leave()

    def check(self) -> Iterator[tuple[int, int]]:
        """Read back what was stored; yields (records done, all). Raises Failed."""
        places = []
        for made in self._writer.packs:
            found, _ = pack.read_footer(self._target.store, made, self._target.store.size(pack.name(made)))
            places += found

        def sound(place: pack.RecordPlace) -> None:
            self._target.read(place, place.kind)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for at in range(0, len(places), 64):
                list(pool.map(sound, places[at : at + 64]))
                self.checked = min(at + 64, len(places))
                self._presence.touch()
                yield self.checked, len(places)


def same(source: Repository, target: Repository, name: PointName) -> bool:
    """Whether the point that both have under one name is one and the same disk, by what it says of itself."""
    theirs, ours = source.point(name).head, target.point(name).head
    return msgspec.structs.replace(ours, session=theirs.session) == theirs


def refuse_itself(source: Repository, target: Repository) -> None:
    """Raises Failed where both are one repository."""
    if source.config.id == target.config.id:
        raise Failed(f"{source.store.where} and {target.store.where} are one repository", "name another to copy to")
