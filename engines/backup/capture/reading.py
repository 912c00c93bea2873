"""Reads a disk once with a few threads and has stored what changed: no queue, no copy of what did not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from engines.backup.capture.fresh_maps import FreshMaps
from engines.backup.capture.hints import Hint, WrongHint
from engines.backup.capture.in_place import InPlace
from engines.backup.capture.read_order import PIECE, Hole, MapWork, Order, Piece
from engines.backup.errors import no_room
from engines.backup.limits.throttle import Throttle
from engines.backup.pages.memory import keep_buffers, room
from engines.backup.pages.workers import worker_count
from engines.backup.repository import record
from engines.backup.repository.block_hashes import BlockHashes
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import MAP, Point, block_count
from engines.backup.repository.repository import Repository
from engines.backup.repository.writer import Writer
from engines.backup.sources.source import Source


@dataclass
class ReadCounts:
    """Bytes passed, bytes read, blocks that changed."""

    passed: int = 0
    read: int = 0
    changed: int = 0


class Reading:
    """One pass over a source. It ends with `finished` set and maybe an `error`.

    thorough: compare BLAKE3 with the parent's ids instead of position hashes, and look every block up.
    hint: only what it names and its sample are read; `error` is Lied where another block turns out to have changed.
    """

    def __init__(
        self,
        repository: Repository,
        source: Source,
        parent: Point | None,
        positions: BlockHashes,
        writer: Writer,
        throttle: Throttle,
        *,
        seed: int,
        thorough: bool = False,
        hint: Hint | None = None,
    ) -> None:
        self._repository = repository
        self._source = source
        self._positions = positions
        self._writer = writer
        self._throttle = throttle
        self._seed = seed
        self._thorough = thorough
        self._size = repository.config.block
        self._blocks = block_count(source.size, self._size)
        self._maps = FreshMaps(repository, writer, parent, self._blocks, thorough=thorough)
        self.counts = ReadCounts()
        self.error: BaseException | None = None
        self.finished = threading.Event()
        self._lock = threading.RLock()
        self._changing = threading.Lock()
        self._hint = hint
        self._order: Iterator[Piece | Hole] = iter(Order(source, self._size, self._blocks, hint))
        self._after: Piece | Hole | None = None  # taken from it too early
        self._reading: set[int] = set()
        self._in_place = InPlace(source, positions, self._size, seed, compares=parent is not None and not thorough)
        self._stop = False
        self._zero = xxhash.xxh3_128_digest(bytes(self._size), seed=seed)
        self._threads: list[threading.Thread] = []
        self._live = 0

    # ── threads ─────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin reading in threads of its own."""
        keep_buffers()
        self._live = worker_count()
        for thread in [threading.Thread(target=self._work, daemon=True) for _ in range(self._live)]:
            thread.start()
            self._threads.append(thread)  # where the next one finds no room, this one is waited for

    def stop(self) -> None:
        """Have the threads end and wait for them."""
        self._stop = True
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            self._throttle.enter()
            view = room(PIECE * self._size)
            places = [view[at : at + self._size] for at in range(0, len(view), self._size)]
            while (piece := self._next()) is not None:
                self._read(piece, view, places)
        except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
            with self._lock:
                self.error = self.error or error
                self._stop = True
        finally:
            with self._lock:
                self._live -= 1
                if self._live == 0:
                    self.finished.set()

    def _next(self) -> Piece | None:
        """The next piece to read; holes on the way are dealt with here."""
        with self._lock:
            while not self._stop and (item := self._take()) is not None:
                if self._hint is not None:  # what it does not name is passed, too
                    self.counts.passed = max(self.counts.passed, item.first * self._size)
                if isinstance(item, Piece):
                    self._source.ahead(item.first * self._size)
                    item = self._longer(item)
                    self._reading.add(item.first)
                    return item
                self._hole(item)
        return None

    def _take(self) -> Piece | Hole | None:
        item, self._after = self._after or next(self._order, None), None
        return item

    def _longer(self, piece: Piece) -> Piece:
        """With those that follow it, where they are best looked at together."""
        most, end = self._in_place.most(piece.first * self._size), piece.first + piece.count
        while piece.count < min(most, self._in_place.most(end * self._size)):
            item = self._take()
            if not (isinstance(item, Piece) and piece.touches(item)):
                self._after = item
                break
            piece = piece.with_next(item)
            end += item.count
        return piece

    # ── what lies in the blocks ─────────────────────────────────────────────────────────────────────

    def _read(self, piece: Piece, view: memoryview, blocks: list[memoryview]) -> None:
        start = piece.first * self._size
        length = min(piece.count * self._size, self._source.size - start)
        for at in range(0, length, len(view)):  # in steps: who waits for them all at once learns late of an error
            self._throttle.take(min(len(view), length - at))
            if self._stop:
                return
        changed = 0
        if not self._in_place.unchanged(piece.first, start, length):
            for at in range(0, length, len(view)):
                if self._stop:
                    return
                changed += self._compare(piece, start + at, view[: length - at], blocks)
        with self._lock:
            self.counts.read += length
            self.counts.passed += length
            self.counts.changed += changed
            self._reading.discard(piece.first)
            done = min(self._reading, default=piece.first + piece.count)
            self._source.behind(min(done * self._size, self._source.size))
        self._done(piece.work, piece.items)

    def _compare(self, piece: Piece, start: int, view: memoryview, blocks: list[memoryview]) -> int:
        """Read from byte `start` on what fits into `view`, whose blocks are `blocks`; how many of them changed."""
        if len(view) < len(blocks) * self._size:
            blocks = [view[at : at + self._size] for at in range(0, len(view), self._size)]
        first = start // self._size
        digests = self._digests(start, view, blocks)
        if self._thorough or not self._positions.same(first, digests):
            return self._differs(piece.work, first, blocks, digests)
        return 0

    def _digests(self, start: int, view: memoryview, blocks: list[memoryview]) -> bytes:
        """Fill `view` and hash its blocks: at once where the disk is asked, which likes that; else one by one.

        A block is hashed at less cost while it is in the processor's cache.
        """
        read, digest, seed = self._source.read_into, xxhash.xxh3_128_digest, self._seed
        if not self._source.at_hand(start):
            read(start, view)
            return b"".join([digest(block, seed=seed) for block in blocks])
        found = []
        began = time.thread_time()
        for block in blocks:
            read(start, block)
            found.append(digest(block, seed=seed))
            start += len(block)
        self._in_place.trial.took(began, in_place=False)
        return b"".join(found)

    def _differs(self, work: MapWork, first: int, blocks: list[memoryview], digests: bytes) -> int:
        """Store those blocks that changed; how many."""
        ids = self._maps.ids(work)
        changed = 0
        for at, block in enumerate(blocks):
            digest = digests[at * 16 : at * 16 + 16]
            number = first + at
            if not self._thorough and self._positions.same(number, digest):
                continue
            slot = slice((number % MAP) * 32, (number % MAP) * 32 + 32)
            name = self._stored(block, digest)
            if ids[slot] != name:
                self._believe(number)
                ids[slot] = name
                changed += 1
        with self._changing:
            work.changed = True
            if not self._positions.same(first, digests):
                self._positions.begin()
        if self._positions.changes:
            self._positions.put(first, digests)
        return changed

    def _stored(self, block: memoryview, digest: bytes) -> bytes:
        """The id of a block that is in the repository from now on."""
        short = len(block) != self._size
        if (short or digest == self._zero) and record.is_zero(block):
            return ZERO
        name = self._repository.codec.id(record.BLOCK, block)
        self._writer.store(record.BLOCK, name, block)
        return name

    def _hole(self, hole: Hole) -> None:
        """Blocks that nobody needs to read."""
        if hole.count:
            digests = self._zero * (hole.count - 1) + self._zero_digest(hole.first + hole.count - 1)
            if self._thorough or not self._positions.same(hole.first, digests):
                ids = self._maps.ids(hole.work)
                start = (hole.first % MAP) * 32
                before = bytes(ids[start : start + hole.count * 32])
                gone = [at for at in range(hole.count) if before[at * 32 : at * 32 + 32] != ZERO]
                for at in gone:
                    self._believe(hole.first + at)
                ids[start : start + hole.count * 32] = ZERO * hole.count
                self.counts.changed += len(gone)
                with self._changing:
                    hole.work.changed = True
                    self._positions.begin()
                self._positions.put(hole.first, digests)
            start_byte = hole.first * self._size
            self.counts.passed += min(hole.count * self._size, self._source.size - start_byte)
        self._done(hole.work)

    def _believe(self, number: int) -> None:
        """A block has changed: a hint that did not say so is a lie. Raises Lied."""
        if self._hint is not None and not self._hint.names(number):
            raise WrongHint(number)

    def _zero_digest(self, number: int) -> bytes:
        length = min(self._size, self._source.size - number * self._size)
        return self._zero if length == self._size else xxhash.xxh3_128_digest(bytes(length), seed=self._seed)

    def _done(self, work: MapWork, items: int = 1) -> None:
        with self._lock:
            work.left -= items
            last = work.left == 0
        if last:
            self._maps.finish(work)

    def outcome(self) -> tuple[bytes, ...]:
        """The ids of the new point's maps. Raises what went wrong."""
        if isinstance(self.error, OSError):
            raise no_room(self._repository.store.where, self.error) from None
        if self.error is not None:
            raise self.error
        return tuple(self._maps.names)
