"""backup prune: take out the points that the rules do not keep."""

from __future__ import annotations

import hashlib
from contextlib import closing
from itertools import groupby
from typing import Annotated, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.errors import Damaged, no_room_at_all
from engines.backup.names import PointName
from engines.backup.repository import sessions
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.repository.sessions import Presence
from engines.backup.store.opening import open_store
from engines.backup.store.store import Store
from engines.backup.upkeep import retention
from engines.backup.upkeep.retention import Rules
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
    Warned,
)
from engines.job.errors import BadParam, Refused
from engines.job.params import param, plain


class PruneParams(RepoParams, frozen=True, kw_only=True):
    """What stays."""

    keep_last: Annotated[int, param("Keep last", "this many newest points of each disk", ge=0, le=100000)] = 0
    keep_hourly: Annotated[int, param("Keep hourly", "the newest of this many hours", ge=0, le=100000)] = 0
    keep_daily: Annotated[int, param("Keep daily", "the newest of this many days", ge=0, le=100000)] = 0
    keep_weekly: Annotated[int, param("Keep weekly", "the newest of this many weeks", ge=0, le=100000)] = 0
    keep_monthly: Annotated[int, param("Keep monthly", "the newest of this many months", ge=0, le=100000)] = 0
    keep_yearly: Annotated[int, param("Keep yearly", "the newest of this many years", ge=0, le=100000)] = 0
    keep_tag: Annotated[tuple[str, ...], param("Keep tag", "points that have this tag")] = ()
    only: Annotated[str, param("Only", "disks that begin so, such as web1/")] = ""
    drop: Annotated[tuple[str, ...], param("Drop", "this point goes, whatever the rules say")] = ()


class Prune(Engine[PruneParams]):
    """`crashcart backup prune`."""

    name: ClassVar[str] = "backup-prune"
    verb: ClassVar[str] = "prune"
    title: ClassVar[str] = "take out old restore points"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Pruned
    params = PruneParams

    @override
    def target(self, params: PruneParams) -> str:
        return f"backup prune {hashlib.sha256(where(params).encode()).hexdigest()}"

    @override
    def plan(self, params: PruneParams, cancel: Cancel) -> Plan:
        with Repository.glance(where(params)) as glance:
            stay, go = _chosen(glance, params)
            return Plan(
                task=self.name,
                target=glance.store.where,
                params={**plain(params), "repo": glance.store.where},
                steps=(
                    Step(
                        id="prune", title=f"Take out {len(go)} points", no_stop="it takes a moment, and can be undone"
                    ),
                ),
                changes=tuple(BytesChange(target=str(name), summary="goes") for name in go),
                facts=(
                    ("points", f"{len(stay) + len(go)}, of which {len(go)} go"),
                    *((f"stays {name}", why) for name, why in stay.items()),
                ),
                undo="the points are put back, until the next gc",
                confirm=glance.store.where if go else "",
                detail={"go": [str(name) for name in go]},
                state={"go": [str(name) for name in go]},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        with closing(open_store(plan.params.repo)) as store:
            yield StepStarted(step="prune")
            gone: list[str] = []
            with Presence(store, "prune", f"prune of {store.where}"):
                pins = {pin for session in sessions.living(store) for pin in session.pins}
                for at, text in enumerate(plan.detail["go"], 1):
                    name = names.parse(text)
                    if name.path() in pins:
                        yield Warned(text=f"{name} stays: it is being used")
                    else:
                        try:
                            gone += _take_out(store, name)
                        except OSError as error:
                            raise no_room_at_all(store.where, error) from None
                    yield Progress(done=at, total=len(plan.detail["go"]), unit="points")
            yield StepEnded(step="prune")
            yield Finished(
                summary=f"{len(gone)} points are taken out of {store.where}",
                result={"pruned": gone},
                then=(f"free the space: crashcart backup gc --repo {store.where}",),
            )

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        with closing(open_store(plan.params.repo)) as store:
            yield StepStarted(step="prune")
            sessions.sweep(store)
            lost = []
            for text in plan.detail["go"]:
                name = names.parse(text)
                try:
                    store.rename(name.path("pruned"), name.path())
                except FileNotFoundError:
                    if name.path() not in store.names(f"points/{name.vm}/{name.disk}"):
                        lost.append(text)
            yield StepEnded(step="prune")
            if lost:
                raise Refused(f"{len(lost)} points are gone for good: {', '.join(lost[:3])}", "gc has deleted them")
            yield Finished(summary=f"{len(plan.detail['go'])} points are back")


def _take_out(store: Store, name: PointName) -> list[str]:
    try:
        store.rename(name.path(), name.path("pruned"))
    except FileNotFoundError:
        return []  # an earlier try did it, or someone else
    return [str(name)]


def _chosen(glance: NamesOnly, params: PruneParams) -> tuple[dict[PointName, str], list[PointName]]:
    """(what stays and why, what goes). Raises Refused, BadParam."""
    rules = Rules(
        params.keep_last,
        params.keep_hourly,
        params.keep_daily,
        params.keep_weekly,
        params.keep_monthly,
        params.keep_yearly,
        params.keep_tag,
    )
    dropped = {glance.resolve(text) for text in params.drop}
    if not rules and not dropped:
        raise BadParam("keep_daily", 0, "at least one rule, such as --keep-daily 7", "say what to keep")
    stay: dict[PointName, str] = {}
    known = [name for name in glance.names() if f"{name.vm}/{name.disk}".startswith(params.only)]
    tagged = _tags(params, known) if rules.tags else {}
    for _, disk in groupby(known, key=lambda name: (name.vm, name.disk)):
        points = [name for name in disk if name not in dropped]
        stay |= retention.kept(points, rules, tagged) if rules else dict.fromkeys(points, "no rule")
    return stay, [name for name in {**dict.fromkeys(known), **dict.fromkeys(sorted(dropped))} if name not in stay]


def _tags(params: PruneParams, known: list[PointName]) -> dict[PointName, tuple[str, ...]]:
    """Tags by point; they lie inside, so a locked repository has to be opened for them."""
    repository = Repository.of(params)
    found = {}
    for name in known:
        try:
            found[name] = repository.point(name).head.tags
        except (FileNotFoundError, Damaged, msgspec.DecodeError):
            continue
    return found
