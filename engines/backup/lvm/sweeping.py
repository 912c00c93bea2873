"""backup snapshots sweep: remove the LVM snapshots that killed runs of ours left behind."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from engines.backup.lvm import moment, sweep
from engines.backup.lvm.sweep import Left
from engines.job.contract import (
    Cancel,
    CommandChange,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Refused
from engines.job.params import Params, param, plain


class SweepParams(Params, frozen=True, kw_only=True):
    """What is done with snapshots."""

    action: Annotated[Literal["sweep"], param("Action", "remove what killed runs left", positional=True)] = "sweep"


class Sweep:
    """See Engine. No word is asked for: what goes was made by a backup for itself, and its process is dead."""

    name: ClassVar[str] = "backup-snapshots"
    verb: ClassVar[str] = "snapshots"
    title: ClassVar[str] = "remove LVM snapshots that killed backups left behind"
    kind: ClassVar[str] = "work"
    params = SweepParams

    def target(self, params: SweepParams) -> str:  # noqa: ARG002  there is but one LVM
        """See Engine."""
        return "backup snapshots"

    def plan(self, params: SweepParams, cancel: Cancel) -> Plan:  # noqa: ARG002  nothing here takes long
        """See Engine."""
        found = sweep.left()
        dead = [one for one in found if one.fate == "dead"]
        still = sum(len(record.processes) for _, record in moment.forgotten())
        return Plan(
            task=self.name,
            target="LVM",
            params=plain(params),
            steps=(Step(id="sweep", title=f"Remove {len(dead)} snapshots", no_stop="each is gone in a moment"),),
            changes=tuple(
                CommandChange(where="LVM", command=f"lvremove {one.volume}", expects="removed") for one in dead
            ),
            facts=(
                *(("goes", one.words) for one in dead),
                *(("stays", one.words) for one in found if one.fate != "dead"),
                *((("runs again", f"{still} processes that a killed run left standing still"),) if still else ()),
            ),
            undo="it cannot be; a snapshot of a dead backup serves nobody",
            state={"dead": sorted(one.volume.id for one in dead)},
        ).sealed()

    def execute(self, plan: Plan, context: Context) -> Events:  # noqa: ARG002  see no_stop
        """See Engine."""
        yield StepStarted(step="sweep")
        woken = sweep.wake()
        if woken:
            yield Log(text=f"{woken} processes that a killed run had left standing still run again")
        removed, left = [], []
        for orphan in _planned(plan):
            trouble = sweep.remove(orphan)
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

    def resume(self, plan: Plan, context: Context) -> Events:
        """See Engine."""
        yield from self.execute(plan, context)

    def undo(self, plan: Plan, context: Context) -> Events:  # noqa: ARG002  it refuses whatever is given
        """See Engine."""
        raise Refused("a removed snapshot is gone", "it held nothing that a restore point needs")


def _planned(plan: Plan) -> list[Left]:
    """Those of the plan that are still there, and still dead."""
    return [one for one in sweep.orphans() if one.volume.id in plan.state["dead"]]
