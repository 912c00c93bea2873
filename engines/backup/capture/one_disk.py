"""One disk's part of a backup: read against the point before it, until only its own point is missing."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backup.capture.hints import Hint, WrongHint
from engines.backup.capture.reading import ReadCounts, Reading
from engines.backup.errors import no_room
from engines.backup.limits import throttle
from engines.backup.limits.throttle import Throttle
from engines.backup.limits.throttling import throttled
from engines.backup.repository import lost_records, sessions
from engines.backup.repository.block_hashes import BlockHashes
from engines.backup.repository.point import Figures, Head, Point, block_count, root
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.writer import Writer
from engines.backup.sources.options import Hints, NoHint, PointRef
from engines.backup.sources.source import Source
from engines.job import units
from engines.job.contract import AnyEvent, Context, Log, Warned
from engines.job.errors import Stopped

if TYPE_CHECKING:
    from engines.backup.limits.speed import Speed

TICK = 0.1  # s between looks at the readers


@dataclass(frozen=True)
class Manner:
    """How the disks of `vm` are read: see the run's parameters of the same names; `sample` in percent."""

    vm: str
    limit: str = "none"
    strict: bool = False
    hints: Hints = "none"
    sample: int = 1
    tags: tuple[str, ...] = ()


class OneDisk:
    """Reads one source. `done` counts its bytes while `read` runs; `counts`, `held` and `hinted` tell of it then."""

    def __init__(
        self,
        repository: Repository,
        presence: Presence,
        writer: Writer,
        source: Source,
        where: Path,
        disk: str,
        manner: Manner,
        parent: Point | None,
    ) -> None:
        self.name = f"{manner.vm}/{disk}"
        self.parent = parent
        self.source = source
        self.done = 0
        self.counts = ReadCounts()
        self.held = ""
        self.hinted = ""
        self.lied = False
        self._where = where
        self._disk = disk
        self._repository = repository
        self._presence = presence
        self._writer = writer
        self._manner = manner
        self._maps: tuple[bytes, ...] = ()
        self._took = 0.0
        self._stored = 0
        self._open_positions()

    def _open_positions(self) -> None:
        repository = self._repository
        blocks = block_count(self.source.size, repository.config.block)
        self._positions = BlockHashes(
            repository.store, repository.id, self._manner.vm, self._disk, repository.keys, blocks
        )
        self._known = self.parent is not None and self._positions.load(self.parent.root(repository.keys))

    def close(self) -> None:
        """Let go of the positions; what was not committed of them is removed."""
        self._positions.close()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    def read(self, context: Context) -> Generator[AnyEvent | None, None, None]:
        """From the first byte to the last; None is a tick, for progress. Raises Failed, Stopped."""
        heals = lost_records.needed(self._repository)
        if heals:
            yield Log(text="every block is looked up, since the repository misses some")
        limit = throttle.parse(self._manner.limit)
        source = self.source
        before, began = self._writer.written, time.monotonic()
        try:
            with throttled(limit, source.reads_from, self._speed, context.cancel, source.reader) as held:
                yield Log(text=f"{held.words}; {self._compared()}")
                yield from self._hinted_first(held, thorough=not self._known or heals or self._manner.strict)
                self._took = time.monotonic() - began
                self._stored = self._writer.written - before
                self.held = held.report(self.counts.read, self._took)
                kept = held.kept(self.counts.read, self._took)
                yield Log(text=self.held) if kept else Warned(text=self.held)
        except OSError as error:
            raise no_room(self._repository.store.where, error) from None

    def _hinted_first(self, held: Throttle, *, thorough: bool) -> Generator[AnyEvent | None, None, None]:
        """By the hint; without it where there is none, or where it turns out to be wrong."""
        hint, said = self._hint(thorough)
        if said:
            self.hinted = said
            yield Log(text=said)
        if hint is not None:
            try:
                yield from self._pass(held, thorough=False, hint=hint)
                return
            except WrongHint as lied:
                self.lied = True
                self.hinted = f"the hint was wrong about block {lied.block}: all was read"
                yield Warned(
                    text=f"THE HINT IS WRONG: block {lied.block} of {self.name} changed and it does not say so;"
                    " it is thrown away and everything is read. Find out why before you trust --hints here again"
                )
            self._positions.close()
            self._open_positions()
        yield from self._pass(held, thorough=thorough)

    def _hint(self, thorough: bool) -> tuple[Hint | None, str]:
        """What is believed to have changed, and the words for it; both empty where nobody asked."""
        if self._manner.hints == "none":
            return None, ""
        block = self._repository.config.block
        try:
            if self.parent is None:
                raise NoHint("the disk has no point yet")
            if self.parent.head.size != self.source.size:
                raise NoHint(f"{self.parent.name} is of another size")
            if thorough:
                raise NoHint("every block is looked up")
            since = PointRef(self._repository.config.id, self.parent.head.session, str(self.parent.name))
            hint = Hint(self.source.changed(since), block, block_count(self.source.size, block))
        except NoHint as no:
            return None, f"everything is read: {no}"
        hint.sample(self.source.extents(0, self.source.size), self._manner.sample)
        return hint, (
            f"{self._manner.hints} names {units.size(hint.named * block)} as changed since {since.point};"
            f" {hint.sampled} blocks of the rest are read all the same"
        )

    def _pass(
        self, held: Throttle, *, thorough: bool, hint: Hint | None = None
    ) -> Generator[AnyEvent | None, None, None]:
        reading = Reading(
            self._repository, self.source, self.parent, self._positions, self._writer, held,
            seed=self._repository.keys.disk_seed(self._manner.vm, self._disk), thorough=thorough, hint=hint,
        )  # fmt: skip
        read = self.counts.read
        self.counts = reading.counts
        try:
            reading.start()
            while not reading.finished.wait(TICK):
                self._presence.touch()
                self._writer.push()
                self.done = max(self.done, min(self.counts.passed, self.source.size))
                yield None
            maps = reading.outcome()
            self.source.behind(self.source.size)
            for text in self.source.check():
                yield Warned(text=text)
        except BaseException as error:
            reading.stop()
            if not isinstance(error, WrongHint):
                self._writer.leave()
            if isinstance(error, Stopped | GeneratorExit) and self._writer.written:
                kept = units.size(self._writer.written)
                raise Stopped(
                    (f"{kept} of blocks in {self._repository.store.where}, which the next run takes up",)
                ) from None
            raise
        finally:
            self.counts.read += read
        self.done = self.source.size
        self._maps = maps
        yield None

    def _speed(self) -> Speed:
        from engines.backup.limits import speed  # asks libvirt, QEMU and the disk; a run without a share never does

        return speed.allowed(self._where, self.source.size)

    def _compared(self) -> str:
        if self.parent is None:
            return "the first backup of this disk"
        return f"compared with {self.parent.name} by " + (
            "position hashes" if self._known else "BLAKE3, since its positions are not at hand"
        )

    # ── the point ───────────────────────────────────────────────────────────────────────────────────

    def point(self, stamp: str, taken: str, together: tuple[str, ...]) -> Point:
        """The point to be. taken: when reading began, by the clock.

        together: the names of all points of its moment; empty where it claims none.
        """
        repository, manner = self._repository, self._manner
        head = Head(
            vm=manner.vm,
            disk=self._disk,
            time=stamp,
            taken=taken if taken != stamp else "",
            size=self.source.size,
            block=repository.config.block,
            session=self._presence.session.id,
            parent=str(self.parent.name) if self.parent else "",
            consistency=self.source.consistency if together else self.source.alone,
            together=together,
            source=self.source.words,
            host=sessions.host(),
            strict=manner.strict,
            tags=manner.tags,
            figures=Figures(
                read=self.counts.read,
                changed=self.counts.changed * repository.config.block,
                stored=self._stored,
                seconds=round(self._took, 3),
            ),
        )
        return Point(head, self._maps)

    def settle(self) -> None:
        """Keep the positions for the next backup."""
        self._positions.commit(root(self._repository.keys, self.source.size, self._maps))

    def result(self, point: Point) -> dict[str, Any]:
        """What the run says of it."""
        figures = point.head.figures
        return {
            "point": str(point.name),
            "size": point.head.size,
            "read": figures.read,
            "changed": figures.changed,
            "stored": figures.stored,
            "seconds": figures.seconds,
            "consistency": point.head.consistency,
            "hint": self.hinted,
            "hint_was_wrong": self.lied,
            "limit": self.held,
        }
