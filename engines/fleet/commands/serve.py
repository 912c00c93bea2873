"""fleet serve: a round whenever one is due, for as long as it runs; each is a run of its own with its report."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import engines
from engines.fleet.commands.params import FleetParams
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.round import today
from engines.job.contract import Note
from engines.job.errors import Failed, Refused, Stopped
from engines.job.units import one_line

LONGEST = 300.0  # s between two looks at hosts, repositories and fleet.yaml
SHORTEST = 1.0
IN_DOUBT = 6 * 3600.0  # s between two rounds that can begin nothing, since what is held is not known


def answer(params: FleetParams) -> str:
    """Never comes back but by a stop: for scripts, `engines.run("fleet", ...)` does one round."""
    for _ in lines(params):
        pass
    return ""


def lines(params: FleetParams) -> Iterator[str | bytes | Note]:
    """What it does, a line each. Raises Refused where fleet.yaml is wrong from the start."""
    params.read()
    serving = Serving(params)
    while True:
        try:
            wait = yield from serving.look()
        except (Refused, Failed) as error:  # fleet.yaml was edited, or a disk is full: that mends itself, or somebody
            yield Note(one_line(f"{error.why}; {error.what_helps}"))
            wait = LONGEST
        time.sleep(wait)


@dataclass
class Serving:
    """What it knows from one look to the next. doubted: when the last round was made that could begin nothing, Unix
    time in s.
    """

    params: FleetParams
    doubted: float = 0.0

    def look(self) -> Generator[str | bytes | Note, None, float]:
        """One look, and a round where one is due; gives the seconds until the next look."""
        fleet = self.params.read()
        now = time.time()
        with Ledger(place(fleet)) as ledger:
            found = today.look(fleet, ledger, now)
            due = bool(today.due(fleet, found, now) or ledger.open_jobs())
            running = any(job.state == "running" for job in ledger.open_jobs())
        doubt = found.agreed.trouble
        if not doubt:
            self.doubted = 0.0
        if doubt and not running and 0 <= now - self.doubted < IN_DOUBT:  # the last has told it, by report and alerts
            return LONGEST
        if not due:
            return _wait(found, now)
        if doubt and not running:
            self.doubted = now
        ended = engines.run("fleet", fleet=self.params.fleet)
        yield Note(f"{ended.status}: {ended.summary}; {ended.report}")  # told at once, where stdout would wait for more
        if ended.status == "stopped":
            raise Stopped(ended.left_behind)
        return _wait(found, time.time()) if ended.ok and not doubt else LONGEST


def _wait(found: today.Today, now: float) -> float:
    """Until the next start, and not so long that a new guest or another fleet.yaml would be overlooked."""
    first = min((each.at for each in found.wanted), default=now + LONGEST)
    return min(max(first - now, SHORTEST), LONGEST)
