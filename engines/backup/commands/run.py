"""backup run: the disks of one VM, once, into new restore points."""

from __future__ import annotations

import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import structs
from typing_extensions import override

from engines.backup import names, results
from engines.backup.capture.one_disk import Manner, OneDisk
from engines.backup.commands import guest_words, made_points
from engines.backup.commands.made_points import MadePoints
from engines.backup.commands.run_params import RunParams, disks, settled
from engines.backup.limits import throttle
from engines.backup.repository import catalogue, config, history, lost_records, sessions, spelling
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository, where
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.repository.writer import Writer
from engines.backup.sources.opening import look_at, open_together
from engines.backup.sources.options import PointRef, SourceOptions, source_options
from engines.backup.sources.source import Source
from engines.backup.store import uplink
from engines.backup.store.uplink import Uplink
from engines.job import units
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Engine,
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
from engines.job.errors import Failed, Refused
from engines.job.lock import content_identity
from engines.job.params import plain

if TYPE_CHECKING:  # a disk that is named by its path needs nothing of libvirt
    from engines.backup.sources.guest.domain import DomainGuest

Working = Generator[AnyEvent, str | None, Finished]


class Run(Engine[RunParams]):
    """`crashcart backup run`."""

    name: ClassVar[str] = "backup"
    verb: ClassVar[str] = "run"
    title: ClassVar[str] = "back up one disk, or several of one VM in one moment"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Backup
    params = RunParams

    @override
    def target(self, params: RunParams) -> str:
        place = where(params)
        identity = place if "://" in place else content_identity(Path(place))
        called = [names.GUEST] if params.guest else disks(params)
        return f"backup {identity} {params.vm or params.guest}/{' '.join(called)}"

    @override
    def plan(self, params: RunParams, cancel: Cancel) -> Plan:
        throttle.parse(params.limit)
        uplink.parse(params.uplink)
        params, guest = settled(params)
        with Repository.glance(where(params)) as repository:
            called = disks(params)
            spelling.refuse_twin(repository, [(params.vm, disk) for disk in (*called, *guest_words.record(guest))])
            params = structs.replace(params, disk=called)
            with look_at([params.source, *params.more], params.format, _wished(params, guest=guest)) as sources:
                size = units.size(sum(source.size for source in sources))
                facts = [
                    fact
                    for source, disk in zip(sources, called, strict=True)
                    for fact in _about(source, _of(disk, called))
                ]
                known = {disk: repository.disks(params.vm, disk) for disk in called}
                new = "nothing: the first backup of this disk"
                compared = tuple(
                    (f"compared with{_of(disk, called)}", str(known[disk][-1]) if known[disk] else new)
                    for disk in called
                )
                return Plan(
                    task=self.name,
                    target=f"{params.vm}/{', '.join(called)} in {repository.store.where}",
                    params={**plain(params), "repo": repository.store.where},
                    steps=(
                        Step(id="read", title=f"Read {size} and store what changed"),
                        Step(
                            id="commit",
                            title=f"Make the restore {'point' if len(called) == 1 else 'points'}",
                            no_stop="the point is being written",
                        ),
                    ),
                    facts=(
                        *guest_words.facts(guest),
                        *facts,
                        ("repository", repository.store.where),
                        *compared,
                        ("limit", params.limit),
                        ("uplink", params.uplink),
                    ),
                    warnings=(*guest_words.warnings(guest, params, repository), *_once(sources)),
                    undo="the restore point is taken out; what only it needs goes with the next gc",
                    state={"source": [source.identity for source in sources], "repository": repository.config.id},
                ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="read")
        with (yield from opened(plan.params, context)) as repository:
            params, guest = settled(plan.params)
            wheres = [params.source, *params.more]
            called = [f"{params.vm}/{disk}" for disk in (*params.disk, *guest_words.record(guest))]
            for text in config.mend(repository.store, repository.config):
                yield Warned(text=text)
            presence = Presence(repository.store, "write", f"backup of {', '.join(called)}", disk=" ".join(called))
            made = PointRef(repository.config.id, presence.session.id)
            wish = _wished(params, context.folder.name, made, guest)
            with (
                presence,
                open_together(wheres, params.format, wish) as found,
                guest_words.recorded(found, params, guest, context.folder) as (sources, params),
            ):
                for text in guest_words.warnings(guest, plan.params, repository):
                    yield Warned(text=text)
                for source in sources[:1]:
                    for text in source.notes:
                        yield Log(text=text)
                yield from (Warned(text=text) for text in _once(sources))
                finished = yield from _Backup(repository, presence, sources, params, context).work()
            for text in dict.fromkeys(text for source in sources for text in source.left_behind):
                yield Warned(text=text)
            yield finished

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="undo")
        with (yield from opened(plan.params, context)) as repository:
            called = [(plan.params.vm, disk) for disk in (*plan.params.disk, names.GUEST)]
            known = made_points.noted(context.earlier) | made_points.unnoted(repository, context.earlier, called)
            if not known:
                yield StepEnded(step="undo")
                yield Finished(summary="it made no point; what it stored serves the next backup, or goes with gc")
                return
            gone = made_points.take_out(repository.store, known)
            left = ", ".join(name for name in known if name not in gone)
            if not gone:
                raise Refused(f"{left} is not there any more", "see what is: crashcart backup list")
            if left:
                yield Warned(text=f"{left} is not there any more")
            yield StepEnded(step="undo")
            said = f"{', '.join(gone)} {'are' if len(gone) > 1 else 'is'} taken out"
            yield Finished(summary=said, then=("free the space: crashcart backup gc",))


def _wished(
    params: RunParams, run: str = "", made: PointRef | None = None, guest: DomainGuest | None = None
) -> SourceOptions:
    wish = source_options(params.agent, params.snapshot_size, params.hints, run, made, params.backing, params.qmp)
    return replace(wish, forms=guest.forms) if guest else wish


def _of(disk: str, called: Sequence[str]) -> str:
    """Which disk a line is about, where there are several."""
    return f" of {disk}" if len(called) > 1 else ""


def _about(source: Source, of: str) -> list[tuple[str, str]]:
    """What the review shows of a disk."""
    kept = [(f"kept{of}", source.keeps)] if source.keeps else []
    return [(f"source{of}", source.words), (f"size{of}", units.size(source.size)), *kept]


def _once(sources: Sequence[Source]) -> tuple[str, ...]:
    """The warnings of all, each once: those of one moment have theirs in common."""
    return tuple(dict.fromkeys(text for source in sources for text in source.warnings))


@dataclass
class _Backup:
    """A backup at work: every disk is read before the first point is made."""

    repository: Repository
    presence: Presence
    sources: Sequence[Source]
    params: RunParams
    context: Context

    def work(self) -> Working:
        """From the first byte to the points."""
        self.began = time.time()
        held = Uplink(uplink.parse(self.params.uplink), self.context.cancel.sleep)
        self.writer = Writer(self.repository, self.presence, held)
        catalogue.look(self.repository, self.presence)
        for damaged in self.repository.index.faults:
            yield Warned(text=f"{damaged.why}; it is left out and made anew")
        with ExitStack() as stack:
            every = list(self._disks(stack))
            for disk in every:
                for text in self._odd(disk):
                    yield Warned(text=f"{disk.name}: {text}" if len(every) > 1 else text)
            failed = yield from self._read(every)
            read = [disk for disk in every if disk.name not in failed]
            if not read:
                raise next(iter(failed.values()))
            yield StepEnded(step="read")
            yield StepStarted(step="commit")
            points = self._commit(read, whole=not failed)
            for disk, point in zip(read, points, strict=True):
                made = PointRef(self.repository.config.id, self.presence.session.id, str(point.name))
                for text in disk.source.committed(made):
                    yield Warned(text=text)
            yield StepEnded(step="commit")
            for name, error in failed.items():
                raise _partly(name, error, points)
            return self._finished(read, points)

    def _disks(self, stack: ExitStack) -> Generator[OneDisk, None, None]:
        wheres = [self.params.source, *self.params.more]
        vm, called = self.params.vm, self.params.disk
        parents = catalogue.parents_of(self.repository, vm, called, self.presence)
        manner = Manner(
            vm, self.params.limit, self.params.strict, self.params.hints, self.params.sample, self.params.tag
        )
        for source, where_, disk, parent in zip(self.sources, wheres, called, parents, strict=True):
            one = OneDisk(self.repository, self.presence, self.writer, source, Path(where_), disk, manner, parent)
            stack.callback(one.close)
            yield one

    def _odd(self, disk: OneDisk) -> Iterator[str]:
        """What does not fit the point before."""
        source = disk.source
        if disk.parent:
            recorded = self.params.guest and disk.name.endswith(f"/{names.GUEST}")
            size = disk.parent.head.size if recorded else source.size
            yield from history.warnings(self.repository, disk.parent, self.began, sessions.host(), source.words, size)
        else:
            yield from history.first(self.repository, self.began, source.size)

    def _read(self, every: Sequence[OneDisk]) -> Generator[AnyEvent, str | None, dict[str, Failed]]:
        """Read all; those that failed, and why. With a single disk there is nothing else to save."""
        total = sum(disk.source.size for disk in every)
        failed: dict[str, Failed] = {}
        before = 0
        for disk in every:
            try:
                with closing(disk.read(self.context)) as reading:  # a stop must reach it, and not when it is collected
                    for event in reading:
                        if event is None:
                            yield Progress(done=before + disk.done, total=total)
                        else:
                            yield _named(disk.name, event) if len(every) > 1 else event
            except Failed as error:
                if len(every) == 1:
                    raise
                failed[disk.name] = error
                yield Warned(text=f"{disk.name}: {error.why}")
            before += disk.source.size
        yield Progress(done=total, total=total)
        return failed

    def _commit(self, read: Sequence[OneDisk], *, whole: bool) -> list[Point]:
        """Make the points. They claim to be of one moment only where every disk of the run has one."""
        taken = names.stamp(self.began)
        stamp = max(catalogue.next_time(self.began, disk.parent) for disk in read)
        one_moment = whole and len(read) > 1 and all(disk.source.one_moment for disk in read)
        together = tuple(f"{disk.name}@{stamp}" for disk in read) if one_moment else ()
        for disk in read:
            disk.settle()
        ready = [disk.point(stamp, taken, together) for disk in read]
        note = MadePoints(self.context.home, self.presence.session.id).add
        points = catalogue.commit(self.repository, self.writer, ready, note)
        if self.repository.index.lost:
            lost_records.forget_lost(self.repository)
        lost_records.forget_killed(self.repository, {disk.name for disk in read})
        return points

    def _finished(self, read: Sequence[OneDisk], points: Sequence[Point]) -> Finished:
        rows = [disk.result(point) for disk, point in zip(read, points, strict=True)]
        changed = sum(point.head.figures.changed for point in points)
        stored = self.writer.written
        result = rows[0] | {"stored": stored}
        if len(rows) > 1:
            together = bool(points[0].head.together)
            result = {"points": rows, "together": together, "changed": changed, "stored": stored}
        called = ", ".join(str(point.name) for point in points)
        return Finished(
            summary=f"{called}: {units.size(changed)} changed, {units.size(stored)} stored",
            result=result,
            then=(f"prove it: crashcart backup verify --repo {shlex.quote(self.repository.store.where)}",),
        )


def _named(disk: str, event: AnyEvent) -> AnyEvent:
    """The event with the disk that it is about."""
    if isinstance(event, Log | Warned):
        return msgspec.structs.replace(event, text=f"{disk}: {event.text}")
    return event


def _partly(name: str, error: Failed, points: Sequence[Point]) -> Failed:
    made = tuple(f"{point.name}, made all the same, of a moment of its own" for point in points)
    return Failed(f"{name}: {error.why}", error.what_helps, (*error.left_behind, *made))
