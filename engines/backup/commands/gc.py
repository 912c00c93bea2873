"""backup gc: free what no point needs, beside whatever else goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import override

from engines.backup import results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import no_room
from engines.backup.repository.repository import NamesOnly, RepoParams
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.store import uplink
from engines.backup.store.uplink import Uplink
from engines.job import units
from engines.job.contract import (
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
)
from engines.job.params import param
from engines.job.word import short

if TYPE_CHECKING:
    from engines.backup.upkeep.collecting import Collection

STEPS = (
    Step(id="mark", title="Mark what points need, and name the packs that shall go"),
    Step(id="copy", title="Copy what is needed out of them"),
    Step(id="delete", title="Delete them", no_stop="the index no longer names them"),
)


class GcParams(RepoParams, frozen=True, kw_only=True):
    """How much."""

    threshold: Annotated[
        int, param("Threshold", "percent of a pack that must be dead before it is written anew", ge=0, le=100)
    ] = 30
    uplink: Annotated[
        str, param("Uplink", "how fast it is written there: 30M, none, or '07:00-22:00 30M, else none'", metavar="RATE")
    ] = "none"


class Gc(OnRepository[GcParams]):
    """`crashcart backup gc`."""

    name: ClassVar[str] = "backup-gc"
    verb: ClassVar[str] = "gc"
    title: ClassVar[str] = "free what no point needs"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Collected
    irreversible: ClassVar[str] = "what gc deletes is gone; nothing that a point needs is deleted"
    params = GcParams

    @override
    def plan_on(self, glance: NamesOnly, params: GcParams, cancel: Cancel) -> Plan:
        uplink.parse(params.uplink)
        pruned = glance.names("pruned")
        return Plan(
            task=self.name,
            target=glance.store.where,
            params={},
            steps=STEPS,
            facts=(("points", str(len(glance.names()))), ("pruned points that go for good", str(len(pruned)))),
            undo="it cannot be: pruned points are gone for good",
            confirm=short(glance.store.where) if pruned else "",
            state={"repository": glance.config.id, "pruned": [str(name) for name in pruned]},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        from engines.backup.upkeep import lease
        from engines.backup.upkeep.collecting import Collection  # brings numpy, 0.1 s that no other verb shall pay
        from engines.backup.upkeep.locks import Locks

        yield StepStarted(step="mark")
        with (yield from opened(plan.params, context)) as repository:
            store = repository.store
            with Presence(store, "gc", f"gc of {store.where}") as presence:
                held = Uplink(uplink.parse(plan.params.uplink), context.cancel.sleep)
                collection = Collection(repository, presence, plan.params.threshold / 100, Locks(store.where), held)
                try:
                    with lease.held(store, presence):
                        yield from _steps(collection)
                except OSError as error:
                    raise no_room(store.where, error) from None
                done = collection.done
            freed = done.freed - done.copied
            yield Finished(
                summary=f"{units.size(freed)} freed of {units.size(done.dead)} that no point needs,"
                f" {done.packs} packs and {done.points} points gone",
                result={
                    "freed": freed,
                    "dead": done.dead,
                    "packs": done.packs,
                    "points": done.points,
                    "waits": done.waits,
                    "locked": done.locked,
                    "until": _day(done.until) if done.locked else "",
                },
                then=(*_when(collection), *(("what waits goes with the next gc",) if done.waits else ())),
            )


def _when(collection: Collection) -> Iterator[str]:
    """When what was deleted takes no room any more, where that is not at once."""
    done, locks = collection.done, collection.locks
    if locks.unknown:
        yield f"whether the bucket keeps what is deleted is not known ({locks.unknown}); if so, its lifecycle frees it"
    if not locks.keeps or not done.packs:
        return
    yield (
        "the bucket keeps what was deleted as old versions: they take their room until its lifecycle removes them"
        " (noncurrent versions, a day after the lock)"
    )
    if done.locked:
        yield f"{units.size(done.locked)} of it are locked, and cannot be freed before {_day(done.until)}"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _steps(collection: Collection) -> Iterator[StepStarted | StepEnded | Progress | Log]:
    collection.let_go()
    yield from _told(collection.mark(), "points")
    yield StepEnded(step="mark")
    yield StepStarted(step="copy")
    yield from _told(collection.sweepable(), "points")
    yield from _told(collection.copy(), "packs")
    yield StepEnded(step="copy")
    yield StepStarted(step="delete")
    collection.delete()
    for text in collection.done.waits:
        yield Log(text=f"left to the next gc: {text}")
    yield StepEnded(step="delete")


def _told(work: Iterator[tuple[int, int]], unit: str) -> Iterator[Progress]:
    for done, total in work:
        yield Progress(done=done, total=total, unit=unit)
