"""backup run: one disk, once, into a new restore point."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from engines.backup import catalogue, names, quarantine, sessions, throttle, words
from engines.backup.index import Index
from engines.backup.point import Figures, Head, Point, block_count, root
from engines.backup.positions import Positions
from engines.backup.reading import Reading
from engines.backup.repository import RepoParams, Repository, where
from engines.backup.sessions import Presence
from engines.backup.sources import Format, Source, look_at, open_source
from engines.backup.throttling import throttled
from engines.backup.unlocking import opened
from engines.backup.wish import wished
from engines.backup.writer import Writer, no_room
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Refused, Stopped
from engines.job.lock import content_identity
from engines.job.params import param, plain

if TYPE_CHECKING:
    from engines.backup.speed import Speed

Working = Generator[AnyEvent, str | None, Finished]
TICK = 0.1  # s between looks at the readers


class RunParams(RepoParams, frozen=True, kw_only=True):
    """One disk to back up."""

    source: Annotated[
        str, param("Disk", "an image file or a block device; it is only ever read", kind="file", positional=True)
    ]
    vm: Annotated[str, param("VM", "whose disk it is", pattern=names.NAME, allowed="letters, digits, . _ and -")]
    disk: Annotated[
        str, param("Disk name", "which of the VM's disks", pattern=names.NAME, allowed="letters, digits, . _ and -")
    ] = "disk0"
    limit: Annotated[
        str, param("Limit", "share of the disk's speed (60%), bytes a second (40M), or none", metavar="LIMIT")
    ] = "60%"
    format: Annotated[Format, param("Image format", "raw or qcow2; auto goes by the name")] = "auto"
    strict: Annotated[bool, param("Strict", "compare every block by BLAKE3 instead of the faster position hash")] = (
        False
    )
    agent: Annotated[
        str, param("Guest agent", "its socket: it has the VM write its files out before the snapshot", kind="file")
    ] = ""
    snapshot_size: Annotated[
        str, param("Snapshot size", "room for what the VM writes meanwhile, like 20G; empty for a fifth of the volume")
    ] = ""
    tag: Annotated[tuple[str, ...], param("Tag", "a word for this point; prune can keep what has it")] = ()


class Run:
    """See Engine."""

    name: ClassVar[str] = "backup"
    verb: ClassVar[str] = "run"
    title: ClassVar[str] = "back up one disk"
    kind: ClassVar[str] = "work"
    params = RunParams

    def target(self, params: RunParams) -> str:
        """See Engine."""
        place = where(params)
        identity = place if "://" in place else content_identity(Path(place))
        return f"backup {identity} {params.vm}/{params.disk}"

    def plan(self, params: RunParams, cancel: Cancel) -> Plan:  # noqa: ARG002  nothing here takes long
        """See Engine."""
        throttle.parse(params.limit)
        repository = Repository.glance(where(params))
        for name in (params.vm, params.disk):
            if not names.good(name):
                raise Refused(f"{name!r} is no name of a disk", "use letters, digits, . _ and -")
        with look_at(params.source, params.format, wished(plain(params))) as source:
            known = repository.disks(params.vm, params.disk)
            facts = (
                ("source", source.words),
                ("size", words.size(source.size)),
                ("repository", repository.store.where),
                ("compared with", str(known[-1]) if known else "nothing: the first backup of this disk"),
                ("limit", params.limit),
            )
            return Plan(
                task=self.name,
                target=f"{params.vm}/{params.disk} in {repository.store.where}",
                params={**plain(params), "repo": repository.store.where},
                steps=(
                    Step(id="read", title=f"Read {words.size(source.size)} and store what changed"),
                    Step(id="commit", title="Make the restore point", no_stop="the point is being written"),
                ),
                facts=facts,
                warnings=source.warnings,
                undo="the restore point is taken out; what only it needs goes with the next gc",
                state={"source": source.identity, "repository": repository.config.id},
            ).sealed()

    def execute(self, plan: Plan, context: Context) -> Events:
        """See Engine."""
        yield StepStarted(step="read")
        repository = yield from opened(plan.params, context)
        job = f"backup of {plan.params['vm']}/{plan.params['disk']}"
        disk = f"{plan.params['vm']}/{plan.params['disk']}"
        presence = Presence(repository.store, "write", job, disk=disk)
        wish = wished(plan.params, context.folder.name)
        with presence, open_source(plan.params["source"], plan.params["format"], wish) as source:
            for text in source.notes:
                yield Log(text=text)
            for text in source.warnings:
                yield Warned(text=text)
            finished = yield from _Backup(repository, presence, source, plan.params, context).work()
        for text in source.left_behind:
            yield Warned(text=text)
        yield finished

    def resume(self, plan: Plan, context: Context) -> Events:
        """See Engine."""
        yield from self.execute(plan, context)

    def undo(self, plan: Plan, context: Context) -> Events:
        """See Engine."""
        yield StepStarted(step="undo")
        repository = yield from opened(plan.params, context)
        made = context.earlier / "point.json" if context.earlier else None
        if made is None or not made.exists():
            yield StepEnded(step="undo")
            yield Finished(summary="it made no point; what it stored serves the next backup, or goes with gc")
            return
        name = names.parse(msgspec.json.decode(made.read_bytes(), type=dict[str, str])["point"])
        try:
            repository.store.rename(name.path(), name.path("pruned"))
        except FileNotFoundError:
            raise Refused(f"{name} is not there any more", "see what is: crashcart backup list") from None
        yield StepEnded(step="undo")
        yield Finished(summary=f"{name} is taken out", then=("free the space: crashcart backup gc",))


class _Backup:
    """One backup at work."""

    def __init__(
        self, repository: Repository, presence: Presence, source: Source, params: dict[str, Any], context: Context
    ) -> None:
        self._repository = repository
        self._presence = presence
        self._source = source
        self._params = params
        self._context = context
        self._began = time.time()
        self._writer = Writer(repository, presence)
        self._seed = repository.keys.disk_seed(params["vm"], params["disk"])

    def work(self) -> Working:
        """From the first byte to the point."""
        repository, params = self._repository, self._params
        catalogue.look(repository, self._presence)
        for damaged in repository.index.faults:
            yield Warned(text=f"{damaged.why}; it is left out and made anew")
        parent = catalogue.parent_of(repository, params["vm"], params["disk"], self._presence)
        blocks = block_count(self._source.size, repository.config.block)
        positions = Positions(repository.store, repository.id, params["vm"], params["disk"], repository.keys, blocks)
        try:
            return (yield from self._with(parent, positions))
        except OSError as error:
            raise no_room(repository.store.where, error) from None
        finally:
            positions.close()

    def _with(self, parent: Point | None, positions: Positions) -> Working:
        known = parent is not None and positions.load(parent.root(self._repository.keys))
        heals = needs_healing(self._repository)
        if heals:
            yield Log(text="every block is looked up, since the repository misses some")
        limit = throttle.parse(self._params["limit"])
        source = self._source
        with throttled(limit, source.reads_from, self._speed, self._context.cancel) as held:
            yield Log(text=f"{held.words}; {_compared(parent, known)}")
            reading = Reading(
                self._repository, source, parent, positions, self._writer, held, seed=self._seed,
                thorough=not known or heals or self._params["strict"],
            )  # fmt: skip
            began = time.monotonic()
            yield from self._read(reading)
            took = time.monotonic() - began
            said = held.report(reading.counts.read, took)
            yield Log(text=said) if held.kept(reading.counts.read, took) else Warned(text=said)
        yield StepEnded(step="read")
        yield StepStarted(step="commit")
        point = self._commit(reading, parent, positions, took)
        self._context.folder.joinpath("point.json").write_bytes(msgspec.json.encode({"point": str(point.name)}))
        yield StepEnded(step="commit")
        return _finished(point, self._writer, reading, self._repository.store.where, said)

    def _speed(self) -> Speed:
        from engines.backup import speed  # asks libvirt, QEMU and the disk; a run without a share never does

        return speed.allowed(Path(self._params["source"]), self._source.size)

    def _read(self, reading: Reading) -> Iterator[Progress]:
        size = self._source.size
        reading.start()
        try:
            while not reading.finished.wait(TICK):
                self._presence.touch()
                self._writer.push()
                yield Progress(done=reading.counts.passed, total=size)
            reading.outcome()
            self._source.behind(size)
            self._source.check()
            yield Progress(done=size, total=size)
        except BaseException as error:
            reading.stop()
            self._writer.leave()
            if isinstance(error, Stopped | GeneratorExit) and self._writer.written:
                kept = words.size(self._writer.written)
                raise Stopped(
                    (f"{kept} of blocks in {self._repository.store.where}, which the next run takes up",)
                ) from None
            raise

    def _commit(self, reading: Reading, parent: Point | None, positions: Positions, took: float) -> Point:
        repository, params = self._repository, self._params
        head = Head(
            vm=params["vm"],
            disk=params["disk"],
            time=catalogue.next_time(self._began, parent),
            size=self._source.size,
            block=repository.config.block,
            session=self._presence.session.id,
            parent=str(parent.name) if parent else "",
            consistency=self._source.consistency,
            source=self._source.words,
            host=sessions.host(),
            strict=params["strict"],
            tags=tuple(params["tag"]),
            figures=Figures(
                read=reading.counts.read,
                changed=reading.counts.changed * repository.config.block,
                stored=self._writer.written,
                seconds=round(took, 3),
            ),
        )
        maps = tuple(reading.maps)
        positions.commit(root(repository.keys, head.size, maps))
        point = catalogue.commit(repository, self._writer, Point(head, maps))
        if repository.index.lost:
            _forget_lost(repository)
        _forget_killed(repository, f"{head.vm}/{head.disk}")
        return point


def needs_healing(repository: Repository) -> bool:
    """Whether a record is damaged or lost that no other place holds."""
    index: Index = repository.index
    if index.lost:
        return True
    return any(not any(True for _ in index.find(bytes.fromhex(bad.id))) for bad in quarantine.every(repository.store))


def _forget_lost(repository: Repository) -> None:
    """The index names lost packs no more: what the disk still held of them was stored anew just now."""
    from engines.backup import merge  # brings numpy, which a sound repository never needs here

    index = repository.index
    index.flush(always=True)
    merge.merge(repository.store, repository.id, list(index.segments), index.present)


def _forget_killed(repository: Repository, disk: str) -> None:
    """What earlier tries of this disk stored is referenced now, or gc's."""
    for session in sessions.killed(repository.store):
        if session.disk == disk:
            try:
                repository.store.delete(session.path)
            except FileNotFoundError:
                continue


def _compared(parent: Point | None, known: bool) -> str:
    if parent is None:
        return "the first backup of this disk"
    return f"compared with {parent.name} by " + (
        "position hashes" if known else "BLAKE3, since its positions are not at hand"
    )


def _finished(point: Point, writer: Writer, reading: Reading, where_: str, held: str) -> Finished:
    figures = point.head.figures
    return Finished(
        summary=f"{point.name}: {words.size(figures.changed)} changed, {words.size(writer.written)} stored",
        result={
            "point": str(point.name),
            "size": point.head.size,
            "read": figures.read,
            "changed": figures.changed,
            "stored": writer.written,
            "seconds": figures.seconds,
            "surprises": reading.counts.surprises,
            "limit": held,
        },
        then=(f"prove it: crashcart backup verify --repo {where_}",),
    )
