"""backup lock: what long-kept points need cannot be deleted for a time, by anybody, renewed before it runs out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from typing_extensions import override

from engines.backup import results
from engines.backup.commands.keeping import KeepDaily, KeepMonthly, KeepWeekly, KeepYearly, kept
from engines.backup.commands.on_repository import OnRepository
from engines.backup.names import PointName
from engines.backup.repository import pack
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.repository.unlocking import opened
from engines.backup.store.s3.versions import Versions
from engines.job.contract import (
    Cancel,
    Context,
    Events,
    Finished,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused
from engines.job.params import param

DAY = 86400.0  # s
GENERATION = 10 * DAY  # more than was asked for, so that a pack is renewed once in ten days and not every night
AT_ONCE = 8


class LockParams(RepoParams, frozen=True, kw_only=True):
    """For how long, and what. Without a rule every point is locked."""

    repo: Annotated[str, param("Repository", "s3://BUCKET/PREFIX", kind="folder", positional=True)] = ""
    days: Annotated[int, param("Days", "for so long from now on nothing of it can be deleted", ge=1, le=3650)] = 30
    mode: Annotated[
        Literal["GOVERNANCE", "COMPLIANCE"],
        param("Mode", "GOVERNANCE can be lifted by who has that right; COMPLIANCE by nobody, not even the provider"),
    ] = "GOVERNANCE"
    keep_last: Annotated[int, param("Keep last", "lock this many newest points of each disk", ge=0, le=100000)] = 0
    keep_daily: KeepDaily = 0
    keep_weekly: KeepWeekly = 0
    keep_monthly: KeepMonthly = 0
    keep_yearly: KeepYearly = 0


class Lock(OnRepository[LockParams]):
    """`crashcart backup lock`."""

    name: ClassVar[str] = "backup-lock"
    verb: ClassVar[str] = "lock"
    title: ClassVar[str] = "have nobody delete what points in a bucket need"
    kind: ClassVar[str] = "change"
    irreversible: ClassVar[str] = "a lock ends when its time is over"
    result: ClassVar[type[results.Result]] = results.Locked
    params = LockParams

    @override
    def plan(self, params: LockParams, cancel: Cancel) -> Plan:
        versions = Versions(where(params), lock=True)
        if not versions.locks():
            raise Refused(
                f"bucket {versions.address.bucket} has no Object Lock",
                "it is switched on when a bucket is made: make one",
            )
        return super().plan(params, cancel)

    @override
    def plan_on(self, glance: NamesOnly, params: LockParams, cancel: Cancel) -> Plan:
        known = len(glance.names())
        hard = params.mode == "COMPLIANCE"
        return Plan(
            task=self.name,
            target=glance.store.where,
            params={},
            steps=(
                Step(id="mark", title="Find what the points need"),
                Step(id="lock", title=f"Lock it for {params.days} days and a generation of 10"),
            ),
            facts=(("points", str(known)), ("mode", params.mode), ("at least until", _day(params.days * DAY))),
            warnings=(
                "what is locked takes room and money until then, whatever prune and gc do",
                *(("COMPLIANCE CANNOT BE TAKEN BACK BY ANYBODY, nor shortened",) if hard else ()),
            ),
            confirm="COMPLIANCE" if hard else "",
            state={"repository": glance.config.id, "mode": params.mode},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="mark")
        params: LockParams = plan.params
        versions = Versions(params.repo, lock=True)
        with (yield from opened(params, context)) as repository:
            repository.load()
            points = kept(repository, repository.names(), params)
            needed = sorted(_needed(repository, points))
            yield StepEnded(step="mark")
            yield StepStarted(step="lock")
            least = time.time() + params.days * DAY
            until = datetime.fromtimestamp(least + GENERATION, UTC)

            def lock(name: str) -> bool:
                if versions.locked_until(name) >= least:
                    return False
                versions.lock(name, until, params.mode)
                return True

            renewed = 0
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for at in range(0, len(needed), 8 * AT_ONCE):
                    renewed += sum(pool.map(lock, needed[at : at + 8 * AT_ONCE]))
                    yield Progress(done=min(at + 8 * AT_ONCE, len(needed)), total=len(needed), unit="files")
        yield StepEnded(step="lock")
        yield Finished(
            summary=f"{len(points)} points in {len(needed)} files are locked until {_day(params.days * DAY)} or longer;"
            f" {renewed} were locked anew",
            result={"points": len(points), "files": len(needed), "renewed": renewed, "until": until.isoformat()},
            then=("run it every night: what is locked long enough is left alone",),
        )


def _needed(repository: Repository, points: list[PointName]) -> Iterator[str]:
    """Files that the points cannot do without, and the index, which spares reading every pack."""
    from engines.backup.upkeep.mark import Marks  # brings numpy

    marks = Marks(repository, ())
    for name in points:
        marks.point("points", name)
        yield name.path()
    yield from (pack.name(owner) for owner in marks.live())
    yield from repository.store.names("index")
    yield "config.json"


def _day(later: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + later))
