"""The steps of a restore as they are done: write, wipe, flush, read back; or what was done already, told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from engines.backup.commands.holes import told_holes
from engines.backup.errors import Damaged, Missing
from engines.backup.pages.workers import Workers
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.restoring import place, target
from engines.backup.restoring.against import Against
from engines.backup.restoring.restoring import Restoring
from engines.backup.restoring.target import SeenTarget, Target
from engines.backup.sources.lvm.pool import PoolWatch
from engines.backup.sources.opening import open_source
from engines.guest import inuse
from engines.host.files import sync_folder
from engines.job import units
from engines.job.contract import Finished, Log, Plan, Progress, StepEnded, StepStarted, Warned
from engines.job.errors import Failed, Refused, Stopped

WIPED = 64 * 1024 * 1024  # bytes at a time


def restored(
    repository: Repository,
    point: Point,
    plan: Plan,
    presence: Presence,
    whole: Callable[[os.stat_result], None] = lambda _: None,
) -> Any:
    """Write, flush, check; comes back with the last word. whole: told of a new file before it gets its name."""
    path = Path(plan.target)
    pooled = None
    if plan.detail.get("again") and target.may_be_done(path, _seen(plan), in_place=plan.params.delta):
        return (yield from _done_before(repository, point, plan, presence))
    if plan.detail["device"]:
        place.fits(path, point)
        pooled = place.pooled(path, repository, point)
        if place.tail(path, point):
            yield Warned(text=place.tail_words(path, point, wiped=plan.params.wipe_tail))
    delta = plan.params.delta
    seen = _seen(plan)
    hold = inuse.hold(path, powered_off=plan.params.powered_off) if plan.detail["existed"] else None
    try:
        if hold:
            hold.refuse_another(seen.identity)
            hold.begin_writing()
        opened_target = Target(path, point.head.size, in_place=delta, again=bool(plan.detail.get("again")), seen=seen)
    except BaseException as error:
        if hold:
            hold.release()
        if isinstance(error, OSError):
            raise Refused(f"{path}: {error.strerror}", _helps(error)) from None
        raise
    work = Restoring(repository, point, opened_target, delta=delta, salvage=plan.params.salvage)
    watch = PoolWatch(pooled[0]).check if pooled else None
    try:
        yield from _through(work.writing(), work, point, presence, plan, watch)
        yield StepEnded(step="write")
        if any(step.id == "wipe" for step in plan.steps):
            yield StepStarted(step="wipe")
            yield from _wiped(opened_target, point.head.size, target.size_of(path))
            yield StepEnded(step="wipe")
        yield StepStarted(step="flush")
        opened_target.finish(whole)
        yield StepEnded(step="flush")
        if plan.params.verify:
            yield StepStarted(step="verify")
            opened_target.cool()
            yield from _through(work.checking(), work, point, presence, plan)
            if work.wrong:
                raise Failed(
                    f"{path} does not hold what was written, first at byte {min(work.wrong) * point.head.block}",
                    "do not use it; look at that disk (dmesg, smartctl) and restore to another",
                )
            yield StepEnded(step="verify")
    except (Stopped, GeneratorExit):
        raise Stopped((f"{path} is restored, but was not read back",) if opened_target.done else _left(plan)) from None
    except OSError as error:
        raise _broken(path, error, plan) from None
    finally:
        opened_target.close()
        if hold:
            hold.release()
    holes, sections = yield from told_holes(repository, point, work.lost)
    written, same = units.size(work.written), units.size(work.same)
    return Finished(
        summary=f"{point.name} is on {path}: {written} written, {same} were right{_said(holes)}",
        result={
            "point": str(point.name), "target": str(path), "written": work.written, "same": work.same,
            "holes": [list(hole) for hole in holes],
        },
        sections=sections,
        then=(_then(holes),),
    )  # fmt: skip


def _seen(plan: Plan) -> SeenTarget:
    return msgspec.convert(plan.state["seen"], SeenTarget)


def _done_before(repository: Repository, point: Point, plan: Plan, presence: Presence) -> Any:
    """A run that was killed behind its last rename left nothing to do: what has its name is read, and is the disk.

    Raises Refused where it is something else.
    """
    path = Path(plan.target)
    yield Log(text=f"{path} was put there since: it is compared with {point.name}")
    lost: set[int] = set()
    with open_source(str(path), "raw") as source:
        differ = source.size != point.head.size
        if not differ:
            against = Against(repository, point, source, salvage=plan.params.salvage)
            with closing(against.comparing().ticks()) as ticks:
                for _ in ticks:
                    presence.touch()
                    yield Progress(done=against.passed, total=point.head.size)
            differ, lost = bool(against.differ), against.lost
    if differ:
        raise target.another(path)
    sync_folder(path.parent)
    yield StepEnded(step="write")
    for step in plan.steps[1:]:
        yield StepStarted(step=step.id)
        yield StepEnded(step=step.id)
    holes, sections = yield from told_holes(repository, point, lost)
    same = point.head.size - sum(end - start for start, end in holes)
    return Finished(
        summary=f"{point.name} is on {path}: it had been written, every block was read and compared{_said(holes)}",
        result={
            "point": str(point.name), "target": str(path), "written": 0, "same": same,
            "holes": [list(hole) for hole in holes],
        },
        sections=sections,
        then=(_then(holes),),
    )  # fmt: skip


def _said(holes: list[tuple[int, int]]) -> str:
    return f"; {len(holes)} HOLES" if holes else ""


def _then(holes: list[tuple[int, int]]) -> str:
    return "check its file systems first (fsck)" if holes else "start the VM, or look into the disk first"


def _helps(error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return "its file system takes no file of that size: name a target on another, or a device"
    return "shut down what uses it, or name another target"


def _wiped(opened_target: Target, start: int, end: int) -> Iterator[Progress]:
    for at in range(start, end, WIPED):
        opened_target.zero(at, min(WIPED, end - at))
        yield Progress(done=min(at + WIPED, end) - start, total=end - start)


def _through(
    crew: Workers[Any],
    work: Restoring,
    point: Point,
    presence: Presence,
    plan: Plan,
    watch: Callable[[], None] | None = None,
) -> Iterator[Progress]:
    try:
        with closing(crew.ticks()) as ticks:
            for _ in ticks:
                presence.touch()
                work.push()
                if watch:
                    watch()
                yield Progress(done=work.passed, total=point.head.size)
    except Failed as failed:
        helps = failed.what_helps
        if isinstance(failed, Damaged | Missing):
            helps = f"{helps}; all that is whole is written with --salvage"
        raise Failed(failed.why, helps, _left(plan)) from None
    yield Progress(done=point.head.size, total=point.head.size)


def _left(plan: Plan) -> tuple[str, ...]:
    if plan.detail["device"] or (plan.params.delta and plan.detail["existed"]):
        return (f"{plan.target} is half written: go on with crashcart resume, or restore anew",)
    return ()


def _broken(path: Path, error: OSError, plan: Plan) -> Failed:
    if isinstance(error, FileNotFoundError):
        return Failed(f"a pack went away ({error.filename})", "find out what is missing: crashcart backup verify")
    if error.errno == errno.ENOSPC:
        return Failed(f"the disk of {path} is full", "make room there, or restore to another place", _left(plan))
    return Failed(
        f"{path} cannot be written: {os.strerror(error.errno or 0)}", "look at that disk (dmesg)", _left(plan)
    )
