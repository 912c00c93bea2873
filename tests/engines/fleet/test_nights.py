"""Four hundred nights of a fleet by a clock of its own, with every bad day among them: each is said in the morning, and
the nights after it are as good as those before.

Planning, ledger, round and morning are the real ones; hosts and repositories are simulated.
"""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engines.backup.names import OF_GUEST
from engines.backup.upkeep.newest import Newest
from engines.fleet.agent import wire
from engines.fleet.agent.holding import Holding
from engines.fleet.config.load import parsed
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.morning.holdings import Holdings
from engines.fleet.morning.notices import Memory, compose
from engines.fleet.morning.standing import Row, Standing, rows
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.points import Covered
from engines.fleet.planning.wanted import AHEAD, wanted
from engines.fleet.reach.census import Census, at_home
from engines.fleet.round import today
from engines.fleet.round.following import Lost, Order, Outcome
from engines.fleet.round.hands import Hands, Hear
from engines.fleet.round.round import Round, Told
from engines.fleet.round.today import Today
from engines.job.contract import Cancel
from tests.engines.fleet.simulated import guest, uuid

BERLIN = ZoneInfo("Europe/Berlin")
STEP = 600.0  # s of the clock at least
DAY = 86400.0
NIGHTS = 400
FLEET = """
hosts: {{hv1: {{ssh: root@hv1}}, hv2: {{ssh: root@hv2}}}}
repositories: {{off1: {{url: /r1}}}}
policies: {{gold: {{every: day, window: '{window}', to: [off1], late: 36h, retries: 2, keep: {{daily: 14}}}}}}
guests: [{{match: all, policy: gold}}]
alerts: [{{to: {{apprise_file: ops}}, quiet: 4h}}]
zone: Europe/Berlin
"""
# The first night of each, and how many there are.
FULL, GONE, AHEAD_OF_TIME, VANISHED = (20, 2), (40, 3), (60, 1), (80, 2)
NO_AGENT, POOL, EDITED, DOWN, WRONG = (100, 1), (120, 1), (140, 1), (160, 3), (180, 1)


def among(night: int, days: tuple[int, int]) -> bool:
    return days[0] <= night < sum(days)


@lru_cache
def fleet_of(window: str) -> Fleet:
    return parsed(FLEET.format(window=window).encode())


@dataclass
class World(Hands):
    """Three guests on two hosts, one repository, and one clock; `night` says what is wrong."""

    ledger: Ledger
    now: float = datetime(2026, 6, 1, 12, tzinfo=BERLIN).timestamp()
    night: int = 0
    window: str = "22:00-06:00"
    made: list[tuple[int, str, float]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    rounds: int = 0

    @property
    def fleet(self) -> Fleet:
        return fleet_of(self.window)

    # ── hosts and a repository ──

    def census(self) -> Census:
        dark = {"hv2": "no route to host"} if among(self.night, GONE) else {}
        there = [guest(1, host="hv1"), guest(2, host="hv1"), guest(3, host="hv2")]
        if among(self.night, VANISHED):
            there.pop(1)
        if among(self.night, GONE):  # what is left of a migration lies on the other host
            there[2] = guest(3, host="hv1", running=False)
        found, silent = at_home(there, self.ledger.guests(), dark)
        return Census(guests=tuple(found), silent=silent, answered=tuple({"hv1", "hv2"} - dark.keys()))

    def covered(self) -> Covered:
        newest = {(vm, "vda"): at for _, vm, at in self.made}
        return Covered(newest={"off1": newest})

    def holdings(self) -> Holdings:
        newest = {vm: at for _, vm, at in self.made}
        disks = tuple(
            Newest(vm=vm, disk="vda", point=f"{vm}/vda@x", taken=at, good=at, points=1, guest=uuid(int(vm[3:])))
            for vm, at in newest.items()
        )
        return Holdings(held={"off1": Holding(disks=disks)})

    def done(self, order: Order) -> Outcome:
        assert order.words is not None and not order.started
        vm = order.words.params["vm"]
        assert order.words.params["tag"] == [OF_GUEST + uuid(int(vm[3:]))]
        if among(self.night, FULL):
            why = "/r1 is full"
            return wire.Ended(run="r", status="failed", code=1, why=why, what_helps="make room (crashcart backup prune")
        if among(self.night, POOL):
            return wire.Declined(why="thin pool vg/thin is 95 % full", what_helps="lvextend")
        if order.name == "hv2" and among(self.night, GONE):
            return Lost("host hv2: no route to host")
        taken = self.now + (90 * DAY if among(self.night, AHEAD_OF_TIME) and vm == "web1" else 0)
        self.made.append((self.night, vm, taken))
        result = {"point": f"{vm}/vda@{int(taken)}", "read": 9, "stored": 5}
        if among(self.night, NO_AGENT):
            said = ("the guest agent did not answer: the point is of a running file system",)
            return wire.Ended(run="r", status="warned", code=4, warnings=said, result=result)
        return wire.Ended(run="r", status="done", code=0, result=result)

    def follow(self, order: Order, needs: Iterable[str], urgency: float, hear: Hear) -> None:
        del needs, urgency
        hear(wire.Begun(run=order.key, new=True))
        hear(self.done(order))

    def hear(self, said: queue.Queue[Told], wait: float, running: int) -> Told:
        if running:
            return said.get()
        self.now += max(wait, STEP)
        raise queue.Empty

    # ── the controller ──

    def look(self) -> Today:
        census, known, now = self.census(), self.ledger.guests(), self.now
        assigned = assign(self.fleet, census.guests, known)
        self.ledger.saw([(one.guest, one.vm, one.policy) for one in assigned], now, census.answered)
        points = self.covered()
        coming = wanted(self.fleet, assigned, points, self.ledger.newest(until=now + AHEAD), now)
        return Today(census, assigned, points, coming)

    def work(self) -> None:
        fleet, found = self.fleet, self.look()
        round_ = Round(fleet, self.ledger, Cancel(), lambda: self.now, hands=lambda _: self, hear=self.hear)
        todo = today.due(fleet, found, self.now)
        round_.add(*today.taken_up(fleet, self.ledger, todo, self.now))
        if among(self.night, EDITED):
            self.window = "20:00-23:00"  # while it is at work
        for _ in round_.work():
            pass
        self.rounds += bool(round_.todo)

    def morning(self) -> Standing:
        fleet, known = self.fleet, self.ledger.guests()
        there = [one.guest for one in known if one.gone is None]
        jobs = self.ledger.newest(until=self.now + AHEAD)
        silent = self.census().silent
        found = rows(fleet, assign(fleet, there, known), known, self.holdings(), jobs, self.now, silent)
        return Standing(at=self.now, rows=found, silent=silent)

    def until(self, hour: int) -> None:
        day = datetime.fromtimestamp(self.now, BERLIN)
        if day.hour >= hour:
            day += timedelta(days=1)
        self.now = max(self.now, day.replace(hour=hour, minute=0, second=0, microsecond=0).timestamp())


@dataclass(frozen=True)
class Morning:
    rows: dict[str, Row]
    told: str
    made: dict[str, int]


def mornings(world: World) -> Iterator[Morning]:
    for night in range(NIGHTS):
        world.night = night
        before = len(world.made)
        world.until(int(world.window[:2]))
        if not among(night, DOWN):
            if among(night, WRONG):
                world.now += 400 * DAY  # of the controller itself, for one night
            world.work()
            if among(night, WRONG):
                world.now -= 400 * DAY
        if datetime.fromtimestamp(world.now, BERLIN).hour >= int(world.window[:2]):
            world.until(7)
        stand = world.morning()
        notices = [] if among(night, DOWN) else compose(world.fleet.alerts, stand, str(night), world.memory)
        made = [vm for _, vm, _ in world.made[before:]]
        counts = {vm: made.count(vm) for vm in made}
        yield Morning({row.name: row for row in stand.rows}, "\n".join(one.body for one in notices), counts)


@pytest.fixture(scope="module")
def year() -> Iterator[list[Morning]]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, Ledger(Path(folder) / "ledger") as ledger:  # no disk
        yield list(mornings(World(ledger)))


def test_every_other_night_is_good_and_each_guest_has_one_point_of_it(year: list[Morning]) -> None:
    bad = (FULL, GONE, AHEAD_OF_TIME, VANISHED, NO_AGENT, POOL, EDITED, DOWN, WRONG)
    assert len(year) == NIGHTS
    for night, morning in enumerate(year):
        if any(among(night, (first, count + 1)) for first, count in bad):
            continue
        assert morning.made == {"web1": 1, "web2": 1, "web3": 1}, (night, morning)
        assert {row.light for row in morning.rows.values()} == {"good"}, (night, morning.rows)


def test_a_full_repository_is_told_and_the_next_night_goes_on(year: list[Morning]) -> None:
    first, second, after = year[FULL[0] : FULL[0] + 3]
    assert first.made == {} and {row.light for row in first.rows.values()} == {"failed"}
    assert first.rows["web1"].why == "/r1 is full" and "make room" in first.rows["web1"].what_helps
    assert "web1 on hv1 is failed: /r1 is full" in first.told
    assert {(row.light, row.why) for row in second.rows.values()} == {("late", "/r1 is full")}
    assert {row.light for row in after.rows.values()} == {"good"} and "web1 on hv1 is good" in after.told


def test_a_host_that_is_gone_is_the_reason_why_its_guests_are_late_and_nobody_elses(year: list[Morning]) -> None:
    first, second, _, after = year[GONE[0] : GONE[0] + 4]
    assert first.made == {"web1": 1, "web2": 1} and "host hv2 had no answer: no route to host" in first.told
    assert "web3 is shut off on hv1 as well" in first.told
    assert first.rows["web3"].host == "hv2" and first.rows["web3"].light == "good"  # not yet 36 h old
    assert second.rows["web3"].light == "late" and "host hv2 has no answer: no route" in second.rows["web3"].why
    assert after.made["web3"] == 1 and after.rows["web3"].light == "good" and "web3 on hv2 is good" in after.told


def test_a_host_whose_clock_is_off_is_told_and_backed_up_again(year: list[Morning]) -> None:
    wrong, after = year[AHEAD_OF_TIME[0] : AHEAD_OF_TIME[0] + 2]
    assert wrong.rows["web1"].light == "failed" and "time to come" in wrong.rows["web1"].why
    assert "web1 on hv1 is failed" in wrong.told and wrong.rows["web2"].light == "good"
    assert after.made == {"web1": 1, "web2": 1, "web3": 1} and after.rows["web1"].light == "good"


def test_a_controller_whose_clock_was_off_for_a_night_does_not_wait_for_a_year(year: list[Morning]) -> None:
    assert year[WRONG[0]].rows["web1"].light == "failed" and "time to come" in year[WRONG[0]].rows["web1"].why
    after = year[WRONG[0] + 1]
    assert after.made == {"web1": 1, "web2": 1, "web3": 1}
    assert {row.light for row in after.rows.values()} == {"good"}


def test_a_guest_that_vanished_is_told_and_keeps_its_points(year: list[Morning]) -> None:
    first, second, after = year[VANISHED[0] : VANISHED[0] + 3]
    assert first.rows["web2"].light == "gone" and "its points are kept" in first.rows["web2"].why
    assert "web2 on hv1 is gone" in first.told and "web2 on" not in second.told
    assert second.rows["web2"].where == ("off1",) and "prune --only web2" in second.rows["web2"].what_helps
    assert after.rows["web2"].light == "good" and after.made["web2"] == 1


def test_a_guest_agent_that_does_not_answer_leaves_a_point_that_says_so(year: list[Morning]) -> None:
    night, after = year[NO_AGENT[0] : NO_AGENT[0] + 2]
    assert night.made == {"web1": 1, "web2": 1, "web3": 1}
    assert {(row.light, row.why.partition(":")[0]) for row in night.rows.values()} == {
        ("warned", "the guest agent did not answer")
    }
    assert {(row.light, row.why) for row in after.rows.values()} == {("good", "")}


def test_a_thin_pool_that_is_nearly_full_refuses_and_is_told(year: list[Morning]) -> None:
    night, after = year[POOL[0] : POOL[0] + 2]
    assert night.made == {} and night.rows["web1"].why == "thin pool vg/thin is 95 % full"
    assert "web1 on hv1 is failed: thin pool vg/thin is 95 % full" in night.told
    assert {row.light for row in after.rows.values()} == {"good"}


def test_a_file_that_is_edited_while_a_round_is_at_work_counts_from_the_next_on(year: list[Morning]) -> None:
    night, after = year[EDITED[0] : EDITED[0] + 2]
    assert night.made == after.made == {"web1": 1, "web2": 1, "web3": 1}
    assert {row.light for row in [*night.rows.values(), *after.rows.values()]} == {"good"}


def test_a_controller_that_was_away_for_three_days_makes_one_point_of_each_and_tells_one_night(
    year: list[Morning],
) -> None:
    away, back = year[DOWN[0] : sum(DOWN)], year[sum(DOWN)]
    assert [morning.made for morning in away] == [{}, {}, {}]
    assert away[-1].rows["web1"].light == "late"
    assert back.made == {"web1": 1, "web2": 1, "web3": 1}
    assert {row.light for row in back.rows.values()} == {"good"} and back.told.startswith("3 guests: 3 good")
