"""backup lock: what long-kept points need cannot be deleted for a time, by anybody, renewed before it runs out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from typing_extensions import override

from engines.backup import results
from engines.backup.commands.keeping import KeepDaily, KeepMonthly, KeepWeekly, KeepYearly, kept
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import Damaged
from engines.backup.names import PointName
from engines.backup.repository import lock_setting, pack
from engines.backup.repository.lock_setting import LockSetting
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.repository.unlocking import opened
from engines.backup.store.s3.versions import ObjectVersions
from engines.backup.store.store import Store
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
from engines.job.params import param

DAY = 86400.0  # s
GENERATION = 10 * DAY  # more than was asked for, so that a pack is renewed once in ten days and not every night
AT_ONCE = 8
KEEPS = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")


class LockParams(RepoParams, frozen=True, kw_only=True):
    """For how long, and what: as was said before and remembered, where nothing is said. Without a rule every point."""

    repo: Annotated[str, param("Repository", "s3://BUCKET/PREFIX", kind="folder", positional=True)] = ""
    days: Annotated[
        int, param("Days", "for so long from now on nothing of it can be deleted; 0: as is set, else 30", ge=0, le=3650)
    ] = 0
    mode: Annotated[
        Literal["as set", "GOVERNANCE", "COMPLIANCE"],
        param("Mode", "GOVERNANCE can be lifted by who has that right; COMPLIANCE by nobody, not even the provider"),
    ] = "as set"
    remember: Annotated[bool, param("Remember", "make this the repository's setting")] = False
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
        ObjectVersions(where(params), lock=True).demand_locks()
        return super().plan(params, cancel)

    @override
    def plan_on(self, glance: NamesOnly, params: LockParams, cancel: Cancel) -> Plan:
        known = len(glance.names())
        setting = _setting(glance.store, params)
        hard = setting.mode == "COMPLIANCE"
        return Plan(
            task=self.name,
            target=glance.store.where,
            params=msgspec.to_builtins(setting),
            steps=(
                Step(id="mark", title="Find what the points need"),
                Step(id="lock", title=f"Lock it for {setting.days} days and a generation of 10"),
            ),
            facts=(("points", str(known)), ("mode", setting.mode), ("at least until", _day(setting.days * DAY))),
            warnings=(
                "what is locked takes room and money until then, whatever prune and gc do",
                *(("COMPLIANCE CANNOT BE TAKEN BACK BY ANYBODY, nor shortened",) if hard else ()),
            ),
            confirm="COMPLIANCE" if hard else "",
            state={"repository": glance.config.id, "mode": setting.mode},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="mark")
        params: LockParams = plan.params
        versions = ObjectVersions(params.repo, lock=True)
        with (yield from opened(params, context)) as repository:
            if params.remember:
                lock_setting.put(repository.store, _setting(repository.store, params))
            repository.load()
            points = kept(repository, repository.names(), params)
            needed = sorted(_needed(repository, points))
            yield StepEnded(step="mark")
            yield StepStarted(step="lock")
            term = Term(params.days, time.time())
            until = datetime.fromtimestamp(term.until, UTC)

            def lock(name: str) -> bool:
                if term.holds(versions.locked_until(name)):
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


@dataclass(frozen=True)
class Term:
    """For how many days from `now`, Unix time, nothing of it can be deleted."""

    days: int
    now: float

    @property
    def until(self) -> float:
        """The end of a lock that is made now: a generation later than need be."""
        return self.now + self.days * DAY + GENERATION

    def holds(self, until: float) -> bool:
        """Whether what is locked until then is locked long enough."""
        return until >= self.now + self.days * DAY


def _setting(store: Store, params: LockParams) -> LockSetting:
    """What is said, and what is set where nothing is said. Raises Damaged."""
    asked = {key: getattr(params, key) for key in KEEPS}
    known = _known(store, anew=params.remember and params.days > 0 and params.mode != "as set")
    if not any(asked.values()):
        asked = {key: getattr(known, key) for key in KEEPS}
    mode = known.mode if params.mode == "as set" else params.mode
    return LockSetting(days=params.days or known.days, mode=mode, **asked)


def _known(store: Store, *, anew: bool) -> LockSetting:
    """What is set. anew: whether it is about to be set whole, so that a broken setting is no obstacle."""
    try:
        return lock_setting.load(store) or LockSetting(days=30)
    except Damaged:
        if not anew:
            raise
        return LockSetting(days=30)


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
    if lock_setting.load(repository.store):
        yield lock_setting.NAME


def _day(later: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + later))
