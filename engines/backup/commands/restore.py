"""backup restore: a point onto a file or block device."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.errors import Damaged
from engines.backup.pages.workers import Workers
from engines.backup.repository import sessions
from engines.backup.repository.point import Point
from engines.backup.repository.repository import WHICH_POINT, NamesOnly, RepoParams, Repository, where
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.restoring import target
from engines.backup.restoring.restoring import Restoring, Run
from engines.backup.restoring.target import Target
from engines.guest import inuse
from engines.job import units
from engines.job.contract import (
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Failed, Refused, Stopped
from engines.job.lock import content_identity, name_identity
from engines.job.params import param, plain

FLUSHING = "what was written is being made durable"


class RestoreParams(RepoParams, frozen=True, kw_only=True):
    """What goes where."""

    point: Annotated[str, WHICH_POINT]
    target: Annotated[
        str, param("Target", "a file or block device; what is on it is lost", kind="output", positional=True)
    ]
    delta: Annotated[bool, param("Delta", "change the target in place, and write only what differs")] = False
    verify: Annotated[bool, param("Verify", "read the target back and compare")] = False
    powered_off: Annotated[
        bool, param("Powered off", "you vouch that no other machine uses it, where no lock can tell")
    ] = False


class Restore(Engine[RestoreParams]):
    """`crashcart backup restore`."""

    name: ClassVar[str] = "backup-restore"
    verb: ClassVar[str] = "restore"
    title: ClassVar[str] = "restore a disk from a point"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Restored
    params = RestoreParams

    @override
    def target(self, params: RestoreParams) -> str:
        path = Path(params.target)
        return content_identity(path) if path.is_block_device() else name_identity(path)

    @override
    def plan(self, params: RestoreParams, cancel: Cancel) -> Plan:
        with Repository.glance(where(params)) as glance:
            name = glance.resolve(params.point)
            path = Path(params.target).resolve()
            before = _looked_at(path, params.powered_off)
            point = _readable(glance, name, params)
            if point and before.get("device"):
                _fits(path, point, device=True)
            steps = [
                Step(id="write", title=f"Write {name} to {path}"),
                Step(id="flush", title="Have it on the disk", no_stop=FLUSHING),
            ]
            if params.verify:
                steps.append(Step(id="verify", title="Read it back and compare"))
            return Plan(
                task=self.name,
                target=str(path),
                params={**plain(params), "repo": glance.store.where, "point": str(name), "target": str(path)},
                steps=tuple(steps),
                changes=(
                    BytesChange(
                        target=str(path),
                        summary=_summary(str(name), before, params.delta),
                        before_size=before.get("size"),
                        after_size=None
                        if point is None
                        else before["size"]
                        if before.get("device")
                        else point.head.size,
                    ),
                ),
                facts=(("point", str(name)), ("target", _words(path, before)), ("repository", glance.store.where)),
                undo="it cannot be: what was on the target is overwritten" if before else "the new file is removed",
                undoable=not before,
                confirm=str(path) if before else "",
                detail={"existed": bool(before), "device": bool(before.get("device"))},
                state={"point": str(name), "target": before},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        with (yield from opened(plan.params, context)) as repository:
            name = names.parse(plan.params.point)
            does = f"restore of {name} to {plan.target}"
            with Presence(repository.store, "read", does, pins=(name.path(),)) as presence:
                repository.load()
                point = repository.present(name)
                finished = yield from _restored(repository, point, plan, presence)
            yield finished

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """A device that is half written is gone on with: what is right already is not written again."""
        again = msgspec.structs.replace(plan.params, delta=plan.params.delta or plan.detail["device"])
        yield from self.execute(msgspec.structs.replace(plan, params=again), context)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        path = Path(plan.target)
        with Repository.glance(plan.params.repo) as glance:
            sessions.sweep(glance.store)
        if plan.detail["existed"]:
            raise Refused(f"what was on {path} is overwritten", "restore another point onto it")
        yield StepStarted(step="undo")
        path.unlink(missing_ok=True)
        path.with_name(f".{path.name}.restoring").unlink(missing_ok=True)
        yield StepEnded(step="undo")
        yield Finished(summary=f"{path} is removed")


def _looked_at(path: Path, powered_off: bool) -> dict[str, Any]:
    """What is at the target now; empty for nothing. Raises Refused where it must not be touched."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise Refused(f"{path.parent} does not exist", "make it first, or name another target") from None
        return {}
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise Refused(f"{path} is neither a file nor a block device", "name one that is")
    device = stat.S_ISBLK(found.st_mode)
    try:
        inuse.hold(path, powered_off=powered_off).release()
    except Refused as refused:
        new = f"a new volume: lvcreate -L {target.size_of(path) // 1024}k -n NAME GROUP" if device else "a new file"
        raise Refused(refused.why, f"{refused.what_helps}; or restore to {new}") from None
    seen: dict[str, Any] = {"device": found.st_rdev if device else 0, "size": target.size_of(path)}
    return seen if device else {**seen, "inode": found.st_ino, "modified": found.st_mtime_ns}


def _summary(name: str, before: dict[str, Any], delta: bool) -> str:
    if not before:
        return f"new file with the disk of {name}"
    if before["device"]:
        return f"overwritten with the disk of {name}" + (", only where it differs" if delta else "")
    return f"{'changed in place to' if delta else 'replaced by'} the disk of {name}"


def _readable(glance: NamesOnly, name: names.PointName, params: RestoreParams) -> Point | None:
    """The point; None where its repository is locked and the key will be asked for later."""
    if glance.config.cipher != "none" and not (params.key_file or params.passphrase):
        return None
    try:
        with Repository.of(params) as repository:
            return repository.point(name)
    except Damaged as damaged:
        raise Refused(damaged.why, damaged.what_helps) from None


def _words(path: Path, before: dict[str, Any]) -> str:
    if not before:
        return f"{path}, new"
    return f"{path}, {'device' if before['device'] else 'file'} of {units.size(before['size'])}, its content is lost"


def _restored(repository: Repository, point: Point, plan: Plan, presence: Presence) -> Any:
    """Write, flush, check; comes back with the last word."""
    path = Path(plan.target)
    _fits(path, point, plan.detail["device"])
    delta = plan.params.delta
    hold = inuse.hold(path, powered_off=plan.params.powered_off) if plan.detail["existed"] else None
    try:
        if hold:
            hold.begin_writing()
        opened_target = Target(path, point.head.size, in_place=delta)
    except BaseException as error:
        if hold:
            hold.release()
        if isinstance(error, OSError):
            raise Refused(f"{path}: {error.strerror}", "shut down what uses it, or name another target") from None
        raise
    try:
        work = Restoring(repository, point, opened_target, delta=delta)
        yield from _through(work.writing(), work, point, presence, plan)
        yield StepEnded(step="write")
        yield StepStarted(step="flush")
        opened_target.finish()
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
    return Finished(
        summary=f"{point.name} is on {path}: {units.size(work.written)} written, {units.size(work.same)} were right",
        result={"point": str(point.name), "target": str(path), "written": work.written, "same": work.same},
        then=("start the VM, or look into the disk first",),
    )


def _through(crew: Workers[Run], work: Restoring, point: Point, presence: Presence, plan: Plan) -> Iterator[Progress]:
    try:
        with closing(crew.ticks()) as ticks:
            for _ in ticks:
                presence.touch()
                work.push()
                yield Progress(done=work.passed, total=point.head.size)
    except Failed as failed:
        raise Failed(failed.why, failed.what_helps, _left(plan)) from None
    yield Progress(done=point.head.size, total=point.head.size)


def _left(plan: Plan) -> tuple[str, ...]:
    if plan.detail["device"] or (plan.params.delta and plan.detail["existed"]):
        return (f"{plan.target} is half written: go on with crashcart resume, or restore anew",)
    return ()


def _fits(path: Path, point: Point, device: bool) -> None:
    """Raises Refused where the target has no room."""
    size = point.head.size
    if device:
        room = target.size_of(path)
        if room < size:
            raise Refused(
                f"{path} has {room} bytes, {point.name} needs {size}",
                f"make a volume that fits: lvcreate -L {-(-size // 1024)}k -n NAME GROUP, and restore to that",
            )


def _broken(path: Path, error: OSError, plan: Plan) -> Failed:
    if isinstance(error, FileNotFoundError):
        return Failed(f"a pack went away ({error.filename})", "find out what is missing: crashcart backup verify")
    if error.errno == errno.ENOSPC:
        return Failed(f"the disk of {path} is full", "make room there, or restore to another place", _left(plan))
    return Failed(
        f"{path} cannot be written: {os.strerror(error.errno or 0)}", "look at that disk (dmesg)", _left(plan)
    )
