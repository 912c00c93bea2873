"""backup snapshots sweep: remove the LVM snapshots that killed runs of ours left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from typing_extensions import override

from engines.backup import results
from engines.backup.repository.repository import NamesOnly, Repository
from engines.backup.sources.lvm import keep, moment, sweep
from engines.backup.sources.lvm.keep import Kept
from engines.backup.sources.lvm.report import LogicalVolume, volumes
from engines.backup.sources.lvm.sweep import Left
from engines.job.contract import (
    Cancel,
    CommandChange,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Plan,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.params import Params, param, plain


class SweepParams(Params, frozen=True, kw_only=True):
    """What is done with snapshots."""

    action: Annotated[Literal["sweep"], param("Action", "remove what killed runs left", positional=True)] = "sweep"
    repo: Annotated[
        str,
        param(
            "Repository",
            "snapshots kept for hints go, too, where it lacks their points; or $CRASHCART_REPO",
            kind="folder",
        ),
    ] = ""


class Sweep(Engine[SweepParams]):
    """See Engine. No word is asked for: what goes was made by a backup for itself, and serves it no more."""

    name: ClassVar[str] = "backup-snapshots"
    verb: ClassVar[str] = "snapshots"
    title: ClassVar[str] = "remove LVM snapshots that killed backups left behind"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Swept
    irreversible: ClassVar[str] = "a removed snapshot is gone; it held nothing that a restore point needs"
    params = SweepParams

    @override
    def target(self, params: SweepParams) -> str:
        return "backup snapshots"

    @override
    def plan(self, params: SweepParams, cancel: Cancel) -> Plan:
        known = volumes()
        repo = _repository(params)
        found = sweep.left(known)
        dead = [one for one in found if one.fate == "dead"]
        useless = _useless(repo, known)
        going: list[Left | Kept] = [*dead, *useless]
        stay = [one for one in keep.kept(known) if one not in useless]
        still = sum(len(record.processes) + bool(record.agent) for _, record in moment.forgotten())
        return Plan(
            task=self.name,
            target="LVM",
            params={**plain(params), "repo": repo},
            steps=(Step(id="sweep", title=f"Remove {len(going)} snapshots", no_stop="each is gone in a moment"),),
            changes=tuple(
                CommandChange(where="LVM", command=f"lvremove {one.volume}", expects="removed") for one in going
            ),
            facts=(
                *(("goes", one.words) for one in going),
                *(("stays", _why(one, repo)) for one in stay),
                *(("stays", one.words) for one in found if one.fate != "dead"),
                *(
                    (("goes on", f"{still} processes or guests that a killed run left standing still"),)
                    if still
                    else ()
                ),
            ),
            undo="it cannot be; a snapshot of a dead backup serves nobody",
            state={
                "dead": sorted(one.volume.id for one in dead),
                "useless": sorted(one.volume.id for one in useless),
            },
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="sweep")
        woken = sweep.wake()
        if woken:
            yield Log(text=f"{woken} processes or guests that a killed run had left standing still go on")
        removed, left = [], []
        for orphan in _planned(plan):
            trouble = sweep.remove(orphan) if isinstance(orphan, Left) else keep.remove(orphan)
            if trouble:
                left.append(trouble)
                yield Warned(text=trouble)
                continue
            removed.append(str(orphan.volume))
            yield Log(text=f"removed {orphan.words}")
        yield StepEnded(step="sweep")
        yield Finished(
            summary=f"{len(removed)} snapshots removed" + (f", {len(left)} left" if left else ""),
            result={"removed": removed, "left": left, "woken": woken},
        )


def _planned(plan: Plan) -> list[Left | Kept]:
    """Those of the plan that are still there, and still serve nobody."""
    known = volumes()
    return [
        *(one for one in sweep.orphans(known) if one.volume.id in plan.state["dead"]),
        *(one for one in _useless(plan.params.repo, known) if one.volume.id in plan.state["useless"]),
    ]


def _repository(params: SweepParams) -> str:
    """The place of the repository that was named; empty where none was."""
    found = params.repo or os.environ.get("CRASHCART_REPO", "")
    return found if "://" in found or not found else str(Path(found).absolute())


def _useless(repo: str, known: list[LogicalVolume]) -> list[Kept]:
    """Snapshots that were kept for a repository which has another newest point of their disk. Raises Refused."""
    if not repo:
        return []
    with Repository.glance(repo) as repository:
        return useless(known, repository)


def _why(one: Kept, repo: str) -> str:
    if repo:
        return one.words
    return f"{one.words}: name the repository to see whether that point is still there (--repo)"


def useless(known: list[LogicalVolume], repository: NamesOnly) -> list[Kept]:
    """Those of a repository in which their point is not there any more, or not the newest of its disk."""
    return [
        one
        for one in keep.kept(known)
        if one.repo == repository.config.id and repository.disks(one.point.vm, one.point.disk)[-1:] != [one.point]
    ]
