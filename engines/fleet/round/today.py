"""What a pass begins with: hosts asked, guests assigned, repositories read, and from that what is to be done now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import msgspec

from engines.backup.names import stamp
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.holds import Hold, holds, over
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job, key
from engines.fleet.planning import agreed, jobs
from engines.fleet.planning.agreed import Agreed
from engines.fleet.planning.assigning import Assigned
from engines.fleet.planning.points import Covered, covered
from engines.fleet.planning.seeing import see, whose
from engines.fleet.planning.upkeep import Upkeep, upkeep
from engines.fleet.planning.wanted import AHEAD, Wanted, calendar_of, wanted
from engines.fleet.reach.census import Census
from engines.fleet.round.round import UPKEEP_TRIES, Todo
from engines.fleet.schedule.calendar import StartWindow

FOREVER = float("inf")


@dataclass(frozen=True)
class Today:
    """Who is there, what is covered, and every backup that is due or next, without what is held."""

    census: Census
    assigned: list[Assigned]
    covered: Covered
    wanted: list[Wanted]
    agreed: Agreed = field(default_factory=Agreed)

    @property
    def held(self) -> Sequence[Hold]:
        """What is."""
        return self.agreed.held

    @property
    def uncovered(self) -> list[Assigned]:
        """Guests that are not backed up, or not wholly, and not because somebody meant it."""
        return [one for one in self.assigned if one.why and not one.skipped]


def look(fleet: Fleet, ledger: Ledger, now: float) -> Today:
    """Ask all hosts and read all repositories; what was seen is noted in the ledger."""
    found, assigned = see(fleet, ledger, now)
    points = covered(fleet.repositories, whose(ledger))
    coming = wanted(fleet, assigned, points, ledger.newest(until=now + AHEAD), now)
    resting = agreed.known(fleet, ledger, now)
    return Today(found, assigned, points, free(coming, resting.held), resting)


def free(coming: Sequence[Wanted], held: Sequence[Hold]) -> list[Wanted]:
    """Those that nobody holds."""
    return [each for each in coming if not over(held, uuid=each.uuid, host=each.host, repository=each.repository)]


def due(
    fleet: Fleet, today: Today, now: float, *, at_once: bool = False, only: str = "", began: float = FOREVER
) -> list[Todo]:
    """The backups of rounds that are open; with `at_once` of all, in a round of their own.

    began: when the pass that they are for did, Unix time in s.
    """
    by = {one.guest.uuid: one for one in today.assigned}
    chosen = [each for each in today.wanted if not only or fnmatchcase(each.name, only)]
    if at_once:
        name = f"now-{stamp(now)}"
        chosen = [_now(each, name, now) for each in chosen]
    else:
        chosen = [each for each in chosen if _open(fleet, each, now)]
    return [_todo(fleet, each, by[each.uuid], later=_opened(fleet, each, now) > began) for each in chosen]


def _open(fleet: Fleet, each: Wanted, now: float) -> bool:
    """Whether its round has opened."""
    return _turn(fleet, each, now).name == each.round and now < each.closes


def _opened(fleet: Fleet, each: Wanted, now: float) -> float:
    """When the window of its policy opened that did so last."""
    return _turn(fleet, each, now).opens


def _turn(fleet: Fleet, each: Wanted, now: float) -> StartWindow:
    return calendar_of(fleet.policies[each.policy], fleet.zone_of(each.host), each.uuid).turn(now)


def _now(each: Wanted, round_: str, now: float) -> Wanted:
    name = key("backup", round_, each.uuid, each.repository)
    return msgspec.structs.replace(each, key=name, round=round_, at=now, closes=FOREVER, why="asked for now")


def _todo(fleet: Fleet, each: Wanted, one: Assigned, *, later: bool) -> Todo:
    job = Job(
        key=each.key,
        round=each.round,
        kind="backup",
        uuid=each.uuid,
        vm=each.vm,
        host=each.host,
        repository=each.repository,
        policy=each.policy,
        disks=each.disks,
        not_before=each.at,
        planned=each.at,
    )
    words = jobs.backup(fleet, one, each.repository)
    return Todo(job, words, each.urgency, each.closes, fleet.policies[each.policy].retries, later)


def _why(job: Job, fleet: Fleet, held: Sequence[Hold]) -> str:
    """Why what was to be done is not."""
    if hold := over(held, uuid=job.uuid, host=job.host, repository=job.repository):
        return hold.words
    if job.host not in fleet.hosts and job.kind == "backup":
        return f"host {job.host} is in fleet.yaml no more"
    return "the controller was not there, and its round is over"


def taken_up(fleet: Fleet, ledger: Ledger, todo: Sequence[Todo], now: float, *, only: str = "") -> list[Todo]:
    """With what an earlier controller left: what runs is followed, what waits and is not due any more is missed.

    only: where not all was asked for, what waits may be due all the same.
    """
    known = {one.job.key: one for one in todo}
    held = holds(ledger)
    found: list[Todo] = []
    for job in ledger.open_jobs():
        same = known.pop(job.key, None)
        if same is not None:
            found.append(Todo(_again(job, same.job), same.words, same.urgency, same.closes, same.retries))
        elif job.state == "running" and (job.host in fleet.hosts or job.kind != "backup"):
            found.append(Todo(job, None, (0.0, 0.0, job.key), FOREVER, 0))
        elif not only:
            ledger.note(job.key, "missed", ended=now, why=_why(job, fleet, held))
    return [*found, *known.values()]


def _again(before: Job, planned: Job) -> Job:
    """The job as the ledger has it, on the host where the guest is now, unless it runs on another."""
    if before.state == "running":
        return before
    return msgspec.structs.replace(before, host=planned.host, disks=planned.disks)


def care(fleet: Fleet, today: Today, ledger: Ledger, now: float) -> list[Todo]:
    """The upkeep that is due now."""
    found = upkeep(fleet, today.assigned, ledger, stamp(now), now)
    return [_cared(each, number, now) for number, each in enumerate(found)]


def _cared(each: Upkeep, number: int, now: float) -> Todo:
    job = Job(
        key=each.key,
        round=each.key.split("/")[1],
        kind=each.kind,
        uuid=each.subject,
        vm=each.vm,
        host=each.host,
        repository=each.repository,
        not_before=now,
        planned=now,
    )
    return Todo(job, each.job, (0.0, float(number), each.key), FOREVER, UPKEEP_TRIES)
