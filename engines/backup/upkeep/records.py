"""Packs read record by record: all of a repository, or a share of them whose findings another process is told."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import msgspec

from engines.backup.errors import Damaged
from engines.backup.pages.workers import Workers, worker_count
from engines.backup.repository import pack, record
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.repository import Repository
from engines.backup.repository.spans import HeldSpan, Span, spans
from engines.backup.store.store import Store
from engines.backup.store.uplink import Uplink

FAR = 8  # threads where the store is far: each waits for an answer
AHEAD = 4  # packs of a far store whose frames are asked for before their turn


def threads(store: Store) -> int:
    """How many are worth it for reading records."""
    return max(worker_count(), min(store.at_once, FAR))


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What reading packs found. read: bytes of the records that were read.

    faults: files with a broken frame, in words. bad: records that are damaged, and why. mended: records that are in
    quarantine and read right again. gone: packs that are not there any more.
    """

    read: int = 0
    faults: tuple[str, ...] = ()
    bad: tuple[tuple[RecordPlace, str], ...] = ()
    mended: tuple[RecordPlace, ...] = ()
    gone: tuple[bytes, ...] = ()


class Records:
    """The records of some packs, each with its size in bytes, of which `percent` are read; `passed` of `total` bytes.

    The repository's index must be loaded: quarantine, and records of packs whose frame is broken, are known by it.
    """

    def __init__(
        self,
        repository: Repository,
        percent: int,
        packs: Sequence[tuple[bytes, int]],
        uplink: Uplink | None = None,
        gate: AbstractContextManager[object] | None = None,
    ) -> None:
        """uplink: how fast records may come. gate: passed by each thread that reads, where more than these do."""
        self._gate = gate or nullcontext()
        self._uplink = uplink or Uplink()
        self._repository = repository
        self._percent = percent
        self._packs = packs
        self._lock = threading.Lock()
        self._local = threading.local()
        self._random = random.SystemRandom()
        self._read = 0
        self._faults: dict[str, None] = {}
        self._bad: list[tuple[RecordPlace, str]] = []
        self._mended: list[RecordPlace] = []
        self._gone: dict[bytes, None] = {}
        self.passed = 0
        self.total = sum(size for _, size in packs)

    @property
    def findings(self) -> Findings:
        """What was found so far."""
        with self._lock:
            return Findings(
                read=self._read,
                faults=tuple(self._faults),
                bad=tuple(self._bad),
                mended=tuple(self._mended),
                gone=tuple(self._gone),
            )

    def reading(self) -> Workers[tuple[Span, int]]:
        """Threads that read them."""
        return Workers(self._spans(), self._check, threads=threads(self._repository.store))

    @property
    def _at_once(self) -> int:
        return min(self._repository.store.at_once, FAR)

    def _spans(self) -> Iterator[tuple[Span, int]]:
        """What is read at a time, and what is done with it; neighbours together where the store is far."""
        for size, places in self._frames():
            chosen = [place for place in places if self._quarantined(place) or self._drawn()]
            far = self._at_once > 1
            for span in spans(chosen, self._at_once) if far else (Span((place,)) for place in chosen):
                read = sum(place.size for place in span.places)
                size -= read
                yield span, read
            self._pass(size)

    def _drawn(self) -> bool:
        return self._random.randrange(100) < self._percent

    def _quarantined(self, place: RecordPlace) -> bool:
        return (place.pack, place.offset) in self._repository.index.bad

    def _pass(self, count: int) -> None:
        with self._lock:
            self.passed += count

    def _frames(self) -> Iterator[tuple[int, list[RecordPlace]]]:
        """Each pack's bytes and records; of a far store some packs ahead, while records are waited for."""
        if self._at_once < 2:
            yield from map(self._framed, self._packs)
            return
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="frames") as pool:
            asked: deque[Future[tuple[int, list[RecordPlace]]]] = deque()
            for each in self._packs:
                asked.append(pool.submit(self._framed, each))
                if len(asked) > AHEAD:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()

    def _framed(self, each: tuple[bytes, int]) -> tuple[int, list[RecordPlace]]:
        owner, size = each
        try:
            return size, self._frame(owner, size)
        except FileNotFoundError:
            self._lacks(owner)
            return 0, []

    def _frame(self, owner: bytes, size: int) -> list[RecordPlace]:
        """The pack's records; a broken frame is noted, and gc will write the pack anew."""
        name, store = pack.name(owner), self._repository.store
        try:
            known, _ = pack.parse_front(bytes(store.read_once(name, 0, pack.FRONT_SIZE)), name, self._repository.id)
            if known != owner:
                raise Damaged(name, "it is another pack than its name says")
        except Damaged as damaged:
            self._fault(damaged)
        except PermissionError as error:
            self._fault(Damaged(name, f"it cannot be read: {error.strerror}"))
            return []
        try:
            places, _ = pack.read_footer(store, owner, size)
        except Damaged as damaged:
            self._fault(damaged)
            known_places = [place for segment in self._repository.index.segments for place in segment.of(owner)]
            places = known_places or [place for place, _ in pack.walk(store, name, owner, size)]
        return places

    def _lacks(self, owner: bytes) -> None:
        """gc was here."""
        with self._lock:
            self._gone[owner] = None

    def _fault(self, damaged: Damaged) -> None:
        with self._lock:
            self._faults[damaged.why] = None

    def _check(self, item: tuple[Span, int]) -> None:
        span, count = item
        self._uplink.take(count)
        try:
            with self._gate:
                held = HeldSpan(self._repository, span) if self._at_once > 1 else None
                for place in span.places:
                    self._prove(held, place)
        except FileNotFoundError:
            self._lacks(span.places[0].pack)
            return
        with self._lock:
            self._read += count
        self._pass(count)

    def _prove(self, held: HeldSpan | None, place: RecordPlace) -> None:
        quarantined, room = self._quarantined(place), self._room(place.length)
        try:
            if held:
                held.content(place, place.kind, room, checked=True)
            else:
                self._repository.read(place, place.kind, room)
        except Damaged as damaged:
            if not quarantined:
                with self._lock:
                    self._bad.append((place, damaged.why))
            return
        if quarantined:
            with self._lock:
                self._mended.append(place)

    def _room(self, length: int) -> memoryview | None:
        """The thread's own buffer, so that what is read leaves no trace in the page cache; none for a vast point."""
        if length > record.LONGEST[record.BLOCK]:
            return None
        if not hasattr(self._local, "buffer"):
            self._local.buffer = memoryview(bytearray(record.LONGEST[record.BLOCK]))
        buffer: memoryview = self._local.buffer
        return buffer[:length]
