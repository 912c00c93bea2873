"""Who is backed up when, where and why is told before anything is done, and a guest stays itself."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from engines.fleet.commands.plan import expected
from engines.fleet.config import words
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job, key
from engines.fleet.planning import jobs
from engines.fleet.planning.assigning import assign, call
from engines.fleet.planning.points import Covered
from engines.fleet.planning.wanted import AHEAD, wanted
from engines.fleet.reach.census import at_home, each_once
from engines.fleet.round.limits import Limits
from tests.engines.fleet.simulated import DAY, NIGHT, fleet, guest, uuid

RULES = (
    "[{skip: 'tmp-*', why: scratch}, {match: {metadata: lead}}, {match: {name: 'db*', tag: eu}, policy: gold},"
    " {match: {host: 'hv1*'}, policy: lead}]"
)


@pytest.mark.parametrize(
    ("given", "policy", "why"),
    [
        ({"name": "tmp-1"}, "", "scratch"),
        ({"name": "tmp-1", "skip": "mine"}, "", "its own metadata: mine"),
        ({"policy": "lead"}, "lead", ""),
        ({"policy": "tin", "host": "hv2"}, "", "no rule fits it, and no policy is called 'tin'"),
        ({"name": "db1", "host": "hv2", "tags": ("eu",)}, "gold", ""),
        ({"name": "db1", "host": "hv2"}, "", "no rule fits it"),
        ({"host": "hv12"}, "lead", ""),
        ({"host": "hv1", "why": "it has no disk", "disks": ()}, "lead", "it has no disk"),
    ],
)
def test_the_first_rule_that_fits_says_what_is_done(given: dict[str, object], policy: str, why: str) -> None:
    (one,) = assign(fleet(RULES), [guest(1, **given)])  # type: ignore[arg-type]
    assert (one.policy, one.why) == (policy, why)
    assert one.skipped == (why in ("scratch", "its own metadata: mine"))
    assert one.covered == (bool(policy) and not why)


def test_a_renamed_guest_keeps_its_name_in_repositories_and_no_two_share_one(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.saw([(guest(1, "web"), "web", "gold")], NIGHT, ["hv1"])
        known = ledger.guests()
    renamed, other, odd = guest(1, "shop"), guest(2, "web"), guest(3, "kunde müller/1")
    assert call([renamed, other, odd], known) == {
        uuid(1): "web",
        uuid(2): f"web-{uuid(2)[:8]}",
        uuid(3): f"kunde-m-ller-1-{uuid(3)[:8]}",
    }


def test_a_lost_ledger_finds_a_renamed_guest_by_the_tags_of_its_points() -> None:
    shop, web, new = guest(1, "shop"), guest(2, "web"), guest(3, "db")
    tagged = {uuid(1): "web", uuid(9): "db"}
    assert call([shop, web, new], (), tagged) == {
        uuid(1): "web", uuid(2): f"web-{uuid(2)[:8]}", uuid(3): f"db-{uuid(3)[:8]}",
    }  # fmt: skip


def test_a_point_of_another_guest_of_that_name_makes_nothing_done() -> None:
    times = {("web1", "vda"): NIGHT - 600, ("old", "vda"): NIGHT - 900}
    points = Covered(
        newest={"off1": times}, owners={"off1": {("web1", "vda"): uuid(9), ("old", "vda"): uuid(2)}},
        own={"off1": {(uuid(9), "vda"): NIGHT - 600, (uuid(2), "vda"): NIGHT - 900}},
    )  # fmt: skip
    assert points.good("off1", "web1", ["vda"], uuid(1)) is None
    assert points.good("off1", "web1", ["vda"], uuid(9)) == NIGHT - 600
    assert points.good("off1", "web2", ["vda"], uuid(2)) == NIGHT - 900
    assert Covered(newest={"off1": times}).good("off1", "web1", ["vda"], uuid(1)) == NIGHT - 600


def test_a_guest_in_migration_is_seen_where_it_runs_and_one_that_runs_twice_is_told() -> None:
    here, there = guest(1, host="hv1", running=False), guest(1, host="hv2")
    assert [one.host for one in each_once([here, there, guest(2)])] == ["hv2", "hv2"]
    (twice,) = each_once([guest(1, host="hv1"), there])
    assert twice.why.startswith("it is seen on hv1 (web1) and hv2 (web1) at once")


def test_what_a_migration_left_behind_is_not_the_guest_while_its_host_is_silent(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.saw([(guest(1, host="hv2"), "web1", "gold")], NIGHT, ["hv1", "hv2"])
        known = ledger.guests()
    stale, moved = guest(1, host="hv1", running=False), guest(1, host="hv1")
    there, silent = at_home([stale, guest(3, host="hv1", running=False)], known, {"hv2": "no route"})
    assert [one.name for one in there] == ["web3"]
    assert silent == {"hv2": "no route; web1 is shut off on hv1 as well, which is not taken for it while hv2 is silent"}
    assert at_home([moved], known, {"hv2": "no route"}) == ([moved], {"hv2": "no route"})
    assert at_home([stale], known, {}) == ([stale], {})
    gone = [msgspec.structs.replace(known[0], gone=NIGHT)]
    assert at_home([stale], gone, {"hv2": "no route"})[0] == [stale]


def test_who_is_not_seen_on_a_host_that_answered_is_gone_and_comes_back(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        both = [(guest(1, host="hv1"), "web1", "gold"), (guest(2, host="hv2"), "web2", "gold")]
        ledger.saw(both, NIGHT, ["hv1", "hv2"])
        ledger.saw([], NIGHT + 60, ["hv1"])
        assert {one.name: one.gone for one in ledger.guests()} == {"web1": NIGHT + 60, "web2": None}
        ledger.saw([(guest(1, host="hv2"), "web1", "gold")], NIGHT + 120, ["hv1", "hv2"])
        assert [(one.host, one.gone) for one in ledger.guests()] == [("hv2", None), ("hv2", NIGHT + 120)]


def test_what_has_the_oldest_point_comes_first_and_what_has_one_of_this_round_waits() -> None:
    of = fleet()
    assigned = assign(of, [guest(number) for number in range(4)])
    times = {("web0", "vda"): NIGHT - 600, ("web1", "vda"): NIGHT - 5 * DAY, ("web2", "vda"): NIGHT - DAY}
    found = wanted(of, assigned, Covered(newest={"off1": times, "off2": times}), {}, NIGHT)
    assert [each.name for each in found if each.repository == "off1"] == ["web3", "web1", "web2", "web0"]
    by = {each.name: each for each in found if each.repository == "off2"}
    assert by["web3"].due(NIGHT) and by["web3"].why == "it has no backup yet"
    assert by["web1"].due(NIGHT) and by["web1"].missed and by["web1"].round == "2026-08-13"
    assert by["web2"].round == "2026-08-13" and by["web0"].round == "2026-08-14"


def test_a_job_that_is_told_done_is_not_due_again_in_its_round() -> None:
    of = fleet()
    assigned = assign(of, [guest(1)])
    (first, _) = wanted(of, assigned, Covered(), {}, NIGHT)
    done = Job(
        key=first.key, round=first.round, kind="backup", uuid=first.uuid, vm="web1", host="hv1", repository="off1",
        state="done", planned=first.at, started=NIGHT, ended=NIGHT + 9,
    )  # fmt: skip
    again = wanted(of, assigned, Covered(), {(done.uuid, "off1"): done}, NIGHT + 60)
    assert {each.repository: each.round for each in again} == {"off1": "2026-08-14", "off2": "2026-08-13"}


def test_ten_thousand_guests_are_planned_in_seconds(tmp_path: Path) -> None:
    of = fleet()
    guests = [guest(number) for number in range(10_000)]
    with Ledger(tmp_path / "ledger") as ledger:
        assigned = assign(of, guests, ledger.guests())
        ledger.saw([(one.guest, one.vm, one.policy) for one in assigned], NIGHT, [])
        times = {(one.vm, "vda"): NIGHT - DAY for one in assigned}
        coming = wanted(of, assigned, Covered(newest={"off1": times, "off2": times}), ledger.newest(), NIGHT - 2 * 3600)
        rows = expected(of, coming, {}, NIGHT - 2 * 3600)
    assert len(rows) == 20_000 and {row.why for row in rows} == {"its time of the round"}
    moments = sorted([(row.begins, 1) for row in rows] + [(row.ends, -1) for row in rows])
    now = most = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    assert most == 60  # the uplink's slots


def test_a_host_has_the_hours_of_its_own_zone() -> None:
    of = fleet(more="").hosts["hv1"]
    there = msgspec.structs.replace(of, zone="Asia/Tokyo")
    both = fleet()
    both = msgspec.structs.replace(both, hosts={**both.hosts, "hv1": there})
    times = {(f"web{n}", "vda"): NIGHT - 2 * 3600 for n in (1, 2)}
    found = wanted(both, assign(both, [guest(1), guest(2)]), Covered(newest={"off1": times, "off2": times}), {}, NIGHT)
    opens = {
        each.name: datetime.fromtimestamp(each.at, ZoneInfo(zone)).hour
        for each in found
        for zone in (both.zone_of(each.host),)
    }
    assert both.zone_of("hv1") == "Asia/Tokyo" and both.zone_of("hv2") == "Europe/Berlin"
    assert all(hour >= 22 or hour < 2 for hour in opens.values()), opens
    tokyo = next(each for each in found if each.name == "web1")
    assert tokyo.at != next(each for each in wanted(fleet(), assign(fleet(), [guest(1)]), Covered(), {}, NIGHT)).at


def test_a_line_is_shared_by_as_many_as_may_be_on_it() -> None:
    of = fleet()
    rate = jobs.rate(of, of.repositories["off1"])
    assert rate == f"07:00-22:00 {30 * 1024 * 1024 // 60}, else none"
    assert words.shared(("07:00-22:00 30M, else 60M",), 60) == "07:00-22:00 524288, else 1048576"
    limits = Limits(of)
    narrow = msgspec.structs.replace(of, uplinks={"wan": msgspec.structs.replace(of.uplinks["wan"], slots=3)})
    assert limits.readers("off1") == 40 and Limits(narrow).readers("off1") == 3
    taken = [limits.take(limits.needs(f"hv{n % 20}", f"off{n % 2 + 1}")) for n in range(80)]
    assert taken.count(True) == 60 and taken[60:] == [False] * 20
    limits.free(limits.needs("hv0", "off1"))
    assert limits.take(limits.needs("hv30", "off1")) and not limits.take(limits.needs("hv31", "off1"))


def test_a_backup_s_job_file_says_what_the_guest_is(tmp_path: Path) -> None:
    of = fleet("[{match: all, policy: gold, agent: true}]")
    one = guest(7, agent="/run/agent", running=True)
    two = msgspec.structs.replace(
        one, disks=(*one.disks, msgspec.structs.replace(one.disks[0], name="vdb", source="/b"))
    )
    (assigned,) = assign(of, [two])
    job = jobs.backup(of, assigned, "off2")
    assert job.params["source"] == "/dev/vg/7" and job.params["more"] == ["/b"]
    assert job.params["disk"] == ["vda", "vdb"] and job.params["agent"] == "/run/agent"
    assert job.params["tag"] == [f"guest-{uuid(7)}"] and job.params["format"] == "raw"
    assert key("backup", "2026-08-13", uuid(7), "off2") == f"backup/2026-08-13/{uuid(7)}/off2"


@pytest.mark.parametrize("back", [3600.0, DAY])
def test_a_clock_that_is_set_back_wants_no_round_that_was_done_under_another_key(back: float, tmp_path: Path) -> None:
    """What is wanted again has the key of what was done, and what is done under a key is done once."""
    of = fleet()
    assigned = assign(of, [guest(1)])
    done = [
        Job(key=key("backup", round_, uuid(1), to), round=round_, kind="backup", uuid=uuid(1), vm="web1", host="hv1",
            repository=to, state="done", planned=at, started=at, ended=at + 60)
        for round_, at in (("2026-08-12", NIGHT - DAY), ("2026-08-13", NIGHT)) for to in ("off1", "off2")
    ]  # fmt: skip
    times = {("web1", "vda"): NIGHT}
    points = Covered(newest={"off1": times, "off2": times})
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.keep(*done)
        for minutes in range(0, 600, 10):
            now = NIGHT - back + minutes * 60
            for each in wanted(of, assigned, points, ledger.newest(until=now + AHEAD), now):
                known = each.key in {job.key for job in done}
                assert known or each.round == "2026-08-14" or not each.due(now), (minutes, each)
