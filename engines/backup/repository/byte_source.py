"""A restore point as bytes: random access for browsers, mounts and servers, every block proven when it is read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache

from engines.backup import names
from engines.backup.errors import Damaged, Missing
from engines.backup.names import PointName
from engines.backup.pages.memory import keep_buffers
from engines.backup.repository import record
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import MAP, Point, map_length
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.spans import HeldSpan, Span, spans
from engines.job.errors import BadParam, Refused

CACHE = 64  # blocks
AHEAD = 4  # blocks read before they are asked for, once reads follow one another
FAR = 8  # the same where the store is far, and as many at a time: each waits for an answer


@contextmanager
def open_point(repository: Repository, name: PointName, does: str = "reading") -> Iterator[PointBytes]:
    """A point's bytes; within the `with` neither prune nor gc takes anything of it. Raises Refused, Damaged."""
    with (
        Presence(repository.store, "read", f"{does} of {name}", pins=(name.path(),)) as presence,
        unpinned(repository, name, presence) as found,
    ):
        yield found


@contextmanager
def unpinned(repository: Repository, name: PointName, presence: Presence | None = None) -> Iterator[PointBytes]:
    """The same with no trace in the repository: for looks that are over before anything could be taken away."""
    repository.load()
    found = PointBytes(repository, repository.present(name), presence)
    try:
        yield found
    finally:
        found.close()


class PointBytes:
    """`size` bytes, read by any number of threads."""

    def __init__(self, repository: Repository, point: Point, presence: Presence | None = None) -> None:
        keep_buffers()
        self.point = point
        self.size = point.head.size
        self.block = point.head.block
        self._repository = repository
        self._presence = presence
        self._lock = threading.Lock()
        self._cache: OrderedDict[bytes, memoryview] = OrderedDict()
        self._next = -1
        self._looked = -1  # the block behind which was looked last
        self._far = repository.store.at_once > 1
        self._ahead = ThreadPoolExecutor(FAR if self._far else 1, thread_name_prefix="read-ahead")
        self._coming: dict[bytes, Future[dict[bytes, memoryview]]] = {}
        self._map = lru_cache(maxsize=64)(lambda number: repository.map(point, number))
        self._beside: list[PointBytes] | None = None

    def close(self) -> None:
        """End reading ahead."""
        self._ahead.shutdown(cancel_futures=True)
        for each in self._beside or ():
            each.close()

    def beside(self) -> Sequence[PointBytes]:
        """The guest's other disks of the same moment, as far as they are still there; closed with this one."""
        with self._lock:
            if self._beside is None:
                self._beside = [*self._others()]
                if self._presence and self._beside:
                    pins = (each.point.name.path() for each in (self, *self._beside))
                    self._presence.update(pins=tuple(pins))
            return self._beside

    def _others(self) -> Iterator[PointBytes]:
        head = self.point.head
        for text in head.together:
            with suppress(Refused, Damaged, Missing, BadParam):
                name = names.parse(text if "/" in text else f"{head.vm}/{text}")
                if name == self.point.name:
                    continue
                other = self._repository.present(name)
                if other.head.together == head.together:
                    yield PointBytes(self._repository, other, self._presence)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end. Raises Missing, Damaged."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        if self._presence:
            self._presence.touch()
        first, last = offset // self.block, (end - 1) // self.block
        parts = []
        if self._far and last > first:
            self._begin(range(first, min(last + 1, first + CACHE // 2)))
        for number in range(first, last + 1):
            start = number * self.block
            view = self._block(number)
            parts.append(view[max(offset - start, 0) : end - start])
        self._look_ahead(offset, end, last)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _look_ahead(self, offset: int, end: int, last: int) -> None:
        follows, self._next = offset == self._next, end
        if not follows or last == self._looked:
            return
        self._looked = last
        self._begin(range(last + 1, min(last + 1 + (FAR if self._far else AHEAD), self.point.blocks)))

    def _begin(self, numbers: range) -> None:
        """Have those blocks read that are neither at hand nor on their way."""
        wanted = dict.fromkeys(self.ids(numbers.start, len(numbers)))
        with self._lock:
            known = {ZERO} | self._cache.keys() | self._coming.keys()
        new = [name for name in wanted if name not in known]
        for group in self._grouped(new):
            with self._lock:
                coming = self._ahead.submit(self._fetch_all, group)
                self._coming |= dict.fromkeys((place.id for place in group.places), coming)
            coming.add_done_callback(lambda _, group=group: self._came(group))  # type: ignore[misc]  # a span

    def _grouped(self, names: list[bytes]) -> Iterator[Span]:
        """Neighbours in a pack together, where the store is far; what lies nowhere is asked for when it is needed."""
        found = [place for name in names if (place := next(self._repository.index.find(name), None))]
        if self._far:
            return spans(found, FAR)
        return (Span((place,)) for place in found)

    def _came(self, group: Span) -> None:
        with self._lock:
            for place in group.places:
                self._coming.pop(place.id, None)

    def _block(self, number: int) -> memoryview:
        name = self.ids(number, 1)[0]
        if name == ZERO:
            return memoryview(bytes(min(self.block, self.size - number * self.block)))
        with self._lock:
            if name in self._cache:
                self._cache.move_to_end(name)
                return self._cache[name]
            coming = self._coming.get(name)
        found = coming.result().get(name) if coming else None
        return found if found is not None else self._fetch(name)

    def _fetch(self, name: bytes) -> memoryview:
        return self._keep(name, memoryview(self._repository.fetch(name, record.BLOCK)))

    def _fetch_all(self, group: Span) -> dict[bytes, memoryview]:
        """Those of one span that are whole where they should be; whoever needs another looks for it himself."""
        found: dict[bytes, memoryview] = {}
        with suppress(FileNotFoundError, Missing, Damaged):
            if not self._far:  # what is read there is likely to be read again: it goes through the page cache
                return {place.id: self._fetch(place.id) for place in group.places}
            held = HeldSpan(self._repository, group)
            for place in group.places:
                content = bytearray(place.length)
                held.content(place, record.BLOCK, memoryview(content))
                found[place.id] = self._keep(place.id, memoryview(content).toreadonly())
        return found

    def _keep(self, name: bytes, content: memoryview) -> memoryview:
        with self._lock:
            self._cache[name] = content
            while len(self._cache) > CACHE:
                self._cache.popitem(last=False)
        return content

    def ids(self, first: int, count: int) -> list[bytes]:
        """The ids of neighbouring blocks, 32 bytes each, zeros for a block of zeros: equal ids, equal bytes."""
        found = []
        for number in range(first, min(first + count, self.point.blocks)):
            at = number % MAP * 32
            found.append(self._map(number // MAP)[at : at + 32])
        return found

    def extents(self) -> Iterator[tuple[int, int]]:
        """What is not zero, ascending, as (start, end) in bytes."""
        start: int | None = None
        for map_ in range(len(self.point.maps)):
            for at in range(map_length(self.point.blocks, map_)):
                number = map_ * MAP + at
                zero = self.point.maps[map_] == ZERO or self._map(map_)[at * 32 : at * 32 + 32] == ZERO
                if not zero and start is None:
                    start = number * self.block
                if zero and start is not None:
                    yield start, number * self.block
                    start = None
        if start is not None:
            yield start, self.size
