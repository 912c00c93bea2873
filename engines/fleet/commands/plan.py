"""fleet plan: who runs when, where and why, before anything does."""

from __future__ import annotations

import heapq
import time
from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

from engines.backup.commands.lines import columns
from engines.fleet.commands.params import FleetParams
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.ledger.rows import Job
from engines.fleet.planning.wanted import AHEAD, Wanted, wanted
from engines.fleet.round import today
from engines.job import units
from engines.job.errors import BadParam
from engines.job.params import param

USUAL = 600.0  # s that a backup is thought to take, of which none is known


class PlanParams(FleetParams, frozen=True, kw_only=True):
    """Which day."""

    date: Annotated[
        str, param("Date", "what is planned from that day on, like 2026-12-01; without it, from now", metavar="DATE")
    ] = ""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One backup to come. begins, ends: expected, by the limits and how long the last one took (Unix times in s)."""

    name: str
    host: str
    repository: str
    policy: str
    round: str
    at: float
    begins: float
    ends: float
    why: str


class Planning(msgspec.Struct, frozen=True, kw_only=True):
    """The plan. uncovered: by guest, why it is in none; zone: whose hours the table has; held: what is, in words."""

    rows: list[Planned]
    uncovered: dict[str, str]
    silent: dict[str, str]
    zone: str
    held: list[str] = []


def answer(params: PlanParams) -> Planning:
    """Ask all hosts and read all repositories. Raises Refused, BadParam."""
    fleet = params.read()
    now = max(time.time(), _from(params.date, fleet.zone))
    with Ledger(place(fleet)) as ledger:
        found = today.look(fleet, ledger, time.time())
        newest = ledger.newest(until=time.time() + AHEAD)
    coming = found.wanted
    if params.date:
        coming = today.free(wanted(fleet, found.assigned, found.covered, newest, now), found.held)
    return Planning(
        rows=expected(fleet, coming, newest, now),
        uncovered={one.guest.name: one.why for one in found.assigned if one.why},
        silent={**found.census.silent, **found.covered.silent},
        zone=fleet.zone,
        held=[*found.agreed.words],
    )


def _from(text: str, zone: str) -> float:
    if not text:
        return 0.0
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadParam("date", text, "a day like 2026-12-01") from None
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()


def expected(fleet: Fleet, coming: list[Wanted], newest: dict[tuple[str, str], Job], now: float) -> list[Planned]:
    """When each would begin and end, were every one to take as long as its last."""
    room = {f"host {name}": [now] * host.slots for name, host in fleet.hosts.items()}
    room |= {f"repository {name}": [now] * to.slots for name, to in fleet.repositories.items()}
    room |= {f"uplink {name}": [now] * uplink.slots for name, uplink in fleet.uplinks.items()}
    rows = []
    for each in sorted(coming, key=lambda each: (max(each.at, now), each.urgency)):
        uplink = fleet.repositories[each.repository].uplink
        needs = [f"host {each.host}", f"repository {each.repository}", *([f"uplink {uplink}"] if uplink else [])]
        begins = max([each.at, now, *(room[need][0] for need in needs)])
        ends = begins + _took(newest.get((each.uuid, each.repository)))
        for need in needs:
            heapq.heapreplace(room[need], ends)
        rows.append(
            Planned(
                name=each.name,
                host=each.host,
                repository=each.repository,
                policy=each.policy,
                round=each.round,
                at=each.at,
                begins=begins,
                ends=ends,
                why=each.why,
            )
        )
    return rows


def _took(last: Job | None) -> float:
    if last is None or last.started is None or last.ended is None:
        return USUAL
    return max(last.ended - last.started, 1.0)


def table(planning: Planning) -> str:
    """A line a backup."""
    zone = ZoneInfo(planning.zone)
    rows = [("begins", "guest", "host", "repository", "policy", "takes", "why")]
    for row in planning.rows:
        begins = datetime.fromtimestamp(row.begins, zone).strftime("%a %d %b %H:%M")
        takes = units.span(row.ends - row.begins)
        rows.append((begins, row.name, row.host, row.repository, row.policy, takes, row.why))
    lines = list(columns(rows)) if planning.rows else ["nothing is planned"]
    lines += [f"! {name} is in no plan, or not wholly: {why}" for name, why in planning.uncovered.items()]
    lines += [f"! {words}" for words in planning.held]
    lines += [f"! {name} was not seen: {why}" for name, why in planning.silent.items()]
    return "\n".join(map(units.one_line, lines))
