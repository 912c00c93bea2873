"""backup prune: take out the points that the rules do not keep."""

from __future__ import annotations

import shlex
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.keeping import KeepDaily, KeepHourly, KeepMonthly, KeepWeekly, KeepYearly, rules_of
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import no_room_at_all
from engines.backup.names import PointName
from engines.backup.repository import protected, sessions
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository
from engines.backup.repository.sessions import Presence
from engines.backup.store.opening import open_store
from engines.backup.store.store import Store
from engines.backup.upkeep import counted, retention
from engines.backup.upkeep.retention import SeenPoint
from engines.job.contract import (
    BytesChange,
    Cancel,
    Context,
    Events,
    Finished,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import BadParam, Refused, Stopped
from engines.job.params import param
from engines.job.word import short

AT_ONCE = 256  # points between two looks at who uses them
NAMES_ONLY = (
    "the repository is locked and no key was given: points are counted by the times in their names, not by those inside"
)


class PruneParams(RepoParams, frozen=True, kw_only=True):
    """What stays."""

    keep_last: Annotated[int, param("Keep last", "this many newest points of each disk", ge=0, le=100000)] = 0
    keep_hourly: KeepHourly = 0
    keep_daily: KeepDaily = 0
    keep_weekly: KeepWeekly = 0
    keep_monthly: KeepMonthly = 0
    keep_yearly: KeepYearly = 0
    keep_tag: Annotated[tuple[str, ...], param("Keep tag", "points that have this tag")] = ()
    zone: Annotated[
        str, param("Time zone", "whose hours and days are counted: UTC, local, or a name such as Europe/Berlin")
    ] = "UTC"
    only: Annotated[str, param("Only", "a VM or VM/DISK, by its whole name; * stands for any characters")] = ""
    vms: Annotated[tuple[str, ...], param("VMs", "points of these alone, by their whole names")] = ()
    drop: Annotated[tuple[str, ...], param("Drop", "this point goes, whatever the rules say")] = ()

    @override
    def asks(self) -> tuple[str, ...]:
        """None: without a key, names say when points were made."""
        return ()


class Prune(OnRepository[PruneParams]):
    """`crashcart backup prune`."""

    name: ClassVar[str] = "backup-prune"
    verb: ClassVar[str] = "prune"
    title: ClassVar[str] = "take out old restore points"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Pruned
    params = PruneParams

    @override
    def plan_on(self, glance: NamesOnly, params: PruneParams, cancel: Cancel) -> Plan:
        found = _chosen(glance, params)
        stay, go = found.stay, found.go
        return Plan(
            task=self.name,
            target=glance.store.where,
            params={},
            steps=(Step(id="prune", title=f"Take out {len(go)} points"),),
            changes=tuple(BytesChange(target=str(name), summary="goes") for name in go),
            facts=(
                ("points", f"{len(stay) + len(go)}, of which {len(go)} go"),
                ("days are counted in", f"{params.zone}; --zone NAME takes another"),
                *((f"stays {name}", why) for name, why in stay.items()),
            ),
            warnings=found.warnings,
            undo="the points are put back, until the next gc",
            confirm=short(glance.store.where) if go else "",
            detail={"go": [str(name) for name in go]},
            state={"go": [str(name) for name in go]},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        with closing(open_store(plan.params.repo)) as store:
            yield StepStarted(step="prune")
            gone: list[str] = []
            for text in plan.warnings:
                yield Warned(text=text)
            try:
                with Presence(store, "prune", f"prune of {store.where}"):
                    going = [names.parse(text) for text in plan.detail["go"]]
                    for at in range(0, len(going), AT_ONCE):
                        batch = going[at : at + AT_ONCE]
                        pins = {pin for session in sessions.living(store) for pin in session.pins}
                        for name in batch:
                            if name.path() in pins:
                                yield Warned(text=f"{name} stays: it is being used")
                        gone += _moved(store, [name for name in batch if name.path() not in pins], "points", "pruned")
                        yield Progress(done=at + len(batch), total=len(going), unit="points")
                yield StepEnded(step="prune")
            except (Stopped, GeneratorExit):
                kept = (
                    f"{len(gone)} of {len(plan.detail['go'])} points are taken out: resume goes on, undo puts them back"
                )
                raise Stopped((kept,) if gone else ()) from None
            yield Finished(
                summary=f"{len(gone)} points are taken out of {store.where}",
                result={"pruned": gone},
                then=(f"free the space: crashcart backup gc --repo {shlex.quote(store.where)}",),
            )

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        with closing(open_store(plan.params.repo)) as store:
            yield StepStarted(step="prune")
            sessions.sweep(store)
            going = [names.parse(text) for text in plan.detail["go"]]
            _moved(store, going, "pruned", "points")
            there = set(store.names("points"))
            lost = [str(name) for name in going if name.path() not in there]
            yield StepEnded(step="prune")
            if lost:
                raise Refused(f"{len(lost)} points are gone for good: {', '.join(lost[:3])}", "gc has deleted them")
            yield Finished(summary=f"{len(plan.detail['go'])} points are back")


def _moved(store: Store, going: list[PointName], before: str, after: str) -> list[str]:
    """Move points from one folder to the other; those that were there: an earlier try, or someone else, may have."""
    paths = {name.path(before): name for name in going}
    try:
        done = store.rename_all([(path, name.path(after)) for path, name in paths.items()])
    except OSError as error:
        raise no_room_at_all(store.where, error) from None
    return [str(paths[path]) for path in done]


@dataclass(frozen=True)
class _Choice:
    """What stays and why, and what goes, each in the order of names; warnings about how that was found."""

    stay: dict[PointName, str]
    go: list[PointName]
    warnings: tuple[str, ...] = ()


def _meant(name: PointName, params: PruneParams) -> bool:
    return names.selected(name, params.only) and (not params.vms or name.vm in params.vms)


def _chosen(glance: NamesOnly, params: PruneParams) -> _Choice:
    """Raises Refused, BadParam."""
    rules = rules_of(params)
    zone = retention.zone(params.zone)
    dropped = {glance.resolve(text) for text in params.drop}
    if not rules and not dropped:
        raise BadParam("keep_daily", 0, "at least one rule, such as --keep-daily 7", "say what to keep")
    known = [name for name in glance.names() if _meant(name, params)]
    if params.only and not known and not dropped:
        raise names.absent(glance.names(), params.only, glance.store.where)
    every = {**dict.fromkeys(known), **dict.fromkeys(sorted(dropped))}
    safe = protected.every(glance) & set(every)
    if held := sorted(safe & dropped):
        raise Refused(f"{held[0]} is protected", f"let it go first: crashcart backup protect {held[0]} --off")
    left = [name for name in known if name not in dropped]
    if not rules:
        stay = dict.fromkeys(left, "no rule")
        return _Choice(stay, [name for name in every if name not in stay])
    seen, warnings = _looked(params, left, zone)
    stay = retention.kept_of_each(seen, rules)
    stay |= {name: f"{stay[name]}, protected" if name in stay else "protected" for name in sorted(safe)}
    return _Choice(stay, [name for name in every if name not in stay], warnings)


def _looked(params: PruneParams, known: list[PointName], zone: tzinfo) -> tuple[list[SeenPoint], tuple[str, ...]]:
    """The points as they are counted, and warnings. Raises Refused where their times cannot be relied on."""
    now = time.time()
    try:
        repository = Repository.of(params)
    except Refused:
        if params.key_file or params.passphrase or params.keep_tag:
            raise
        return counted.by_names(known, zone, now), (NAMES_ONLY,)
    with repository:
        seen = counted.by_heads(repository.heads(known), zone, now)
        return seen, (*counted.untagged(seen, params.keep_tag), *counted.odd(seen))
