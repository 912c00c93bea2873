"""With hosts in several zones a round is always open somewhere: passes end all the same, and no round is left out."""

from __future__ import annotations

import queue
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from engines.fleet.agent import wire
from engines.fleet.config.load import parsed
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.points import Covered
from engines.fleet.planning.wanted import AHEAD, wanted
from engines.fleet.reach.census import Census
from engines.fleet.round import today
from engines.fleet.round.following import Order
from engines.fleet.round.hands import Hands, Hear
from engines.fleet.round.round import Round, Told
from engines.fleet.round.today import Today
from tests.engines.fleet.simulated import guest

HOUR = 3600.0
HOURS = 48
COUNT = 45  # so many that in each zone one waits to the end of half a window
FLEET = parsed(b"""
hosts:
  hv0: {ssh: root@hv0}
  hv1: {ssh: root@hv1, zone: America/New_York}
  hv2: {ssh: root@hv2, zone: Asia/Tokyo}
repositories: {off1: {url: /r1, slots: 9}}
policies: {gold: {every: day, to: [off1]}, often: {every: hour, to: [off1]}}
guests: [{match: {name: often}, policy: often}, {match: all, policy: gold}]
zone: Europe/Berlin
""")
GUESTS = [*(guest(number, host=f"hv{number % 3}") for number in range(COUNT)), guest(99, "often", "hv0")]


@dataclass
class World(Hands):
    """Hosts on which each backup goes well at once, and one clock."""

    ledger: Ledger
    now: float = datetime(2026, 6, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    made: dict[str, float] = field(default_factory=dict)

    def follow(self, order: Order, needs: Iterable[str], urgency: float, hear: Hear) -> None:
        del needs, urgency
        assert order.words is not None
        self.made[order.words.params["vm"]] = self.now
        hear(wire.Ended(run="r", status="done", code=0))

    def hear(self, said: queue.Queue[Told], wait: float, running: int) -> Told:
        if running:
            return said.get()
        self.now += max(wait, 600.0)
        raise queue.Empty

    def look(self) -> Today:
        assigned = assign(FLEET, GUESTS, self.ledger.guests())
        points = Covered(newest={"off1": {(vm, "vda"): at for vm, at in self.made.items()}})
        coming = wanted(FLEET, assigned, points, self.ledger.newest(until=self.now + AHEAD), self.now)
        return Today(Census(guests=tuple(GUESTS)), assigned, points, coming)

    def work(self) -> bool:
        """One pass, as `fleet run` does it; whether there was anything to do."""
        began = self.now

        def due() -> list[today.Todo]:
            return today.due(FLEET, self.look(), self.now, began=began)

        round_ = Round(FLEET, self.ledger, clock=lambda: self.now, again=due, hands=lambda _: self, hear=self.hear)
        round_.add(*today.taken_up(FLEET, self.ledger, due(), self.now))
        for _ in round_.work():
            assert self.now < began + 24 * HOUR, "this pass does not end"
        assert all(one.over for one in round_.todo.values())
        return bool(round_.todo)


def test_passes_end_where_a_round_is_always_open_and_every_round_has_its_backup() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, Ledger(Path(folder) / "ledger") as ledger:  # no disk
        world = World(ledger)
        first, passes = world.now, 0
        while world.now < first + HOURS * HOUR:
            if world.work():
                passes += 1
            else:
                world.now += 300.0
        jobs = ledger.jobs("state != 'waiting'")
    assert passes >= 4
    assert {job.state for job in jobs} == {"done"}
    made = Counter(job.vm for job in jobs)
    assert made.pop("often") >= HOURS - 1  # its rounds open and close within passes of others
    assert len(made) == COUNT and set(made.values()) <= {2, 3}, made
