"""backup restore: a point onto a file or block device."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands import far_target, stream
from engines.backup.commands.far_place import is_far
from engines.backup.commands.on_repository import OnRepository
from engines.backup.commands.own_file import is_own, note_own
from engines.backup.commands.restore_params import RestoreParams
from engines.backup.commands.restore_steps import restored
from engines.backup.errors import Damaged
from engines.backup.repository import sessions
from engines.backup.repository.repository import NamesOnly, Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.restoring import place
from engines.backup.restoring.target import SeenTarget, beside
from engines.job import units
from engines.job.contract import (
    BytesChange,
    Cancel,
    Context,
    Events,
    Finished,
    Plan,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Refused
from engines.job.lock import content_identity, name_identity
from engines.job.word import short

FLUSHING = "what was written is being made durable"


class Restore(OnRepository[RestoreParams]):
    """`crashcart backup restore`."""

    name: ClassVar[str] = "backup-restore"
    verb: ClassVar[str] = "restore"
    title: ClassVar[str] = "restore a disk from a point"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Restored
    params = RestoreParams

    @override
    def target(self, params: RestoreParams) -> str:
        if params.target == stream.STDOUT:
            return f"standard output of {os.getpid()}"
        if is_far(params.target):
            return params.target
        path = Path(params.target)
        return content_identity(path) if path.is_block_device() else name_identity(path)

    @override
    def plan_on(self, glance: NamesOnly, params: RestoreParams, cancel: Cancel) -> Plan:
        name = glance.resolve(params.point)
        if params.target == stream.STDOUT:
            return stream.planned(self.name, glance, name, params)
        if is_far(params.target):
            return far_target.planned(self.name, glance, name, params)
        path = Path(params.target).resolve()
        before = place.looked_at(path, powered_off=params.powered_off, store=glance.store.where)
        seen = _inside(glance, name, path, before, params)
        return Plan(
            task=self.name,
            target=str(path),
            params={"point": str(name), "target": str(path)},
            steps=_steps(name, path, params, seen),
            changes=(
                BytesChange(
                    target=str(path),
                    summary=_summary(str(name), before, params.delta),
                    before_size=before.get("size"),
                    after_size=before["size"] if before.get("device") else seen.size,
                ),
            ),
            facts=(
                ("point", str(name)),
                ("target", place.words(path, before)),
                ("repository", glance.store.where),
                *seen.facts,
            ),
            warnings=seen.warnings,
            undo="it cannot be: what was on the target is overwritten"
            if before
            else "the new file is removed, unless it was written to since",
            undoable=not before,
            confirm=short(str(path)) if before else "",
            detail={"existed": bool(before), "device": bool(before.get("device"))},
            state={"point": str(name), "target": before, "seen": msgspec.to_builtins(SeenTarget.at(path))},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        with (yield from opened(plan.params, context)) as repository:
            if plan.target == stream.STDOUT:
                yield from stream.sent(repository, plan)
                return
            if is_far(plan.target):
                yield from far_target.sent(repository, plan)
                return
            name = names.parse(plan.params.point)
            does = f"restore of {name} to {plan.target}"
            with Presence(repository.store, "read", does, pins=(name.path(),)) as presence:
                repository.load()
                point = repository.present(name)
                finished = yield from restored(repository, point, plan, presence, partial(note_own, context.home))
            yield finished

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """What is half written is gone on with: blocks that are right already are not written again."""
        if plan.target == stream.STDOUT:
            raise Refused("what was sent to standard output cannot be taken up", "send it anew")
        if is_far(plan.target):
            detail = {**plan.detail, "again": True}
            yield from self.execute(msgspec.structs.replace(plan, detail=detail), context)
            return
        again = msgspec.structs.replace(plan.params, delta=plan.params.delta or plan.detail["device"])
        detail = {**plan.detail, "again": True}
        yield from self.execute(msgspec.structs.replace(plan, params=again, detail=detail), context)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        if plan.target == stream.STDOUT:
            raise Refused("what was sent to standard output cannot be taken back", "remove it where it went")
        if is_far(plan.target):
            raise Refused(f"{plan.target} is on another host", plan.undo)
        path = Path(plan.target)
        with contextlib.suppress(OSError, Refused), Repository.glance(plan.params.repo) as glance:
            sessions.sweep(glance.store)  # cannot be done where the repository is read-only, or away
        if plan.detail["existed"]:
            raise Refused(f"what was on {path} is overwritten", "restore another point onto it")
        yield StepStarted(step="undo")
        ours = is_own(context.earlier, path)
        if ours:
            path.unlink()
        beside(path).unlink(missing_ok=True)
        left = not ours and os.path.lexists(path)
        if left:
            yield Warned(text=f"{path} stays: it is not as this run wrote it; see whose it is before you remove it")
        yield StepEnded(step="undo")
        yield Finished(summary=f"{path} {'stays' if left else 'is removed' if ours else 'is not there'}")


@dataclass(frozen=True)
class _Inside:
    """What a point says of itself, for the review; empty where its repository is locked and the key comes later."""

    size: int | None = None
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    tail: int = 0


def _inside(
    glance: NamesOnly, name: names.PointName, path: Path, before: dict[str, Any], params: RestoreParams
) -> _Inside:
    """Raises Refused where the point cannot be read, or has no room there."""
    if glance.config.cipher != "none" and not (params.key_file or params.passphrase):
        return _Inside()
    with Repository.of(params) as repository:
        try:
            point = repository.point(name)
        except Damaged as damaged:
            raise Refused(damaged.why, damaged.what_helps) from None
        if not before.get("device"):
            return _Inside(point.head.size)
        place.fits(path, point)
        repository.load()
        pooled = place.pooled(path, repository, point)
    behind = place.tail(path, point)
    return _Inside(
        point.head.size,
        facts=(("room", place.pool_words(*pooled)),) if pooled else (),
        warnings=(place.tail_words(path, point, wiped=params.wipe_tail),) if behind else (),
        tail=behind,
    )


def _steps(name: names.PointName, path: Path, params: RestoreParams, seen: _Inside) -> tuple[Step, ...]:
    steps = [Step(id="write", title=f"Write {name} to {path}")]
    if params.wipe_tail and seen.tail:
        steps.append(Step(id="wipe", title=f"Overwrite the last {units.size(seen.tail)} of {path} with zeros"))
    steps.append(Step(id="flush", title="Have it on the disk", no_stop=FLUSHING))
    if params.verify:
        steps.append(Step(id="verify", title="Read it back and compare"))
    return tuple(steps)


def _summary(name: str, before: dict[str, Any], delta: bool) -> str:
    if not before:
        return f"new file with the disk of {name}"
    if before["device"]:
        return f"overwritten with the disk of {name}" + (", only where it differs" if delta else "")
    return f"{'changed in place to' if delta else 'replaced by'} the disk of {name}"
