"""Every backup that is due or will be next: when, where, why, oldest point first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from engines.fleet.config.model import Fleet, Policy
from engines.fleet.ledger.rows import GOOD, Job, key
from engines.fleet.planning.assigning import Assigned
from engines.fleet.planning.points import Covered
from engines.fleet.schedule.calendar import Calendar, phase
from engines.fleet.schedule.due import NextStart, Past, start

AHEAD = 120.0  # s that a point may be younger than now: beyond, its host's clock was wrong, and it says nothing of when


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A backup to come. at: not before then; closes: not started any more from then on (Unix times in s).

    good: when the newest good point was begun; None for never. missed: whether a round before had none.
    """

    key: str
    round: str
    uuid: str
    name: str
    vm: str
    host: str
    repository: str
    policy: str
    disks: tuple[str, ...]
    at: float
    closes: float
    why: str
    good: float | None = None
    missed: bool = False

    @property
    def urgency(self) -> tuple[float, float, str]:
        """What sorts them: the oldest point first, then the time of the round."""
        return (self.good or 0.0, self.at, self.key)

    def due(self, now: float) -> bool:
        """Whether it may start."""
        return self.at <= now < self.closes

    def open(self, now: float, opened: float) -> bool:
        """Whether it belongs to a round that has opened by `opened` and is not over."""
        return now < self.closes and opened <= now


def wanted(
    fleet: Fleet,
    assigned: Sequence[Assigned],
    points: Covered,
    newest: Mapping[tuple[str, str], Job],
    now: float,
) -> list[Wanted]:
    """The next backup of every guest into every repository of its policy. newest: jobs of the ledger."""
    found = []
    for one in assigned:
        if not one.covered:
            continue
        policy = fleet.policies[one.policy]
        calendar = calendar_of(policy, fleet.zone_of(one.guest.host), one.guest.uuid)
        for repository in policy.to:
            last = newest.get((one.guest.uuid, repository))
            good = points.good(repository, one.vm, [disk.name for disk in one.disks], one.guest.uuid)
            past = past_of(last, good if good is None or good <= now + AHEAD else None)
            spread = policy.spread == "hash"
            next_ = start(calendar, past, now, one.guest.uuid, spread=spread, retries=policy.retries)
            found.append(_wanted(one, repository, next_, past))
    return sorted(found, key=lambda each: each.urgency)


def calendar_of(policy: Policy, zone: str, uuid: str) -> Calendar:
    """The rounds of a guest."""
    return _calendar(policy.window, policy.every, zone, phase(uuid, policy.interval))


@lru_cache(maxsize=1024)
def _calendar(window: str, every: str, zone: str, phase_: int) -> Calendar:
    policy = Policy(to=(), window=window, every=every)
    return Calendar(policy.hours, policy.interval, ZoneInfo(zone), phase_)


def past_of(last: Job | None, good: float | None) -> Past:
    """What was done before: by points, and by a job that was told done in this very round."""
    if last is None:
        return Past(good=good)
    if last.state in GOOD and last.started is not None:
        good = max(good or 0.0, last.planned)
    return Past(good=good, tried=last.round, tries=last.tries, failed_at=last.ended or 0.0)


def _wanted(one: Assigned, repository: str, next_: NextStart, past: Past) -> Wanted:
    return Wanted(
        key=key("backup", next_.round.name, one.guest.uuid, repository),
        round=next_.round.name,
        uuid=one.guest.uuid,
        name=one.guest.name,
        vm=one.vm,
        host=one.guest.host,
        repository=repository,
        policy=one.policy,
        disks=tuple(disk.name for disk in one.disks),
        at=next_.at,
        closes=next_.round.closes,
        why=next_.why,
        good=past.good,
        missed=next_.missed,
    )
