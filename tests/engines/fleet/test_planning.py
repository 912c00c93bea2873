"""Who is backed up when, where and why is told before anything is done, and a guest stays itself."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from engines.backup.names import stamp
from engines.fleet.commands.plan import expected
from engines.fleet.config import words
from engines.fleet.config.load import parsed
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job, Kind, State, key
from engines.fleet.planning import jobs
from engines.fleet.planning.assigning import Assigned, assign, call
from engines.fleet.planning.points import Covered
from engines.fleet.planning.upkeep import Upkeep, unlocked, upkeep
from engines.fleet.planning.wanted import calendar_of, wanted
from engines.fleet.reach.census import at_home, each_once
from engines.fleet.round.limits import Limits
from tests.engines.fleet.simulated import fleet, guest, uuid

NIGHT = datetime(2026, 8, 13, 23, 0, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
DAY = 86400.0
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


def test_upkeep_prunes_only_guests_that_are_there_and_is_not_done_again_before_its_time(tmp_path: Path) -> None:
    of = fleet()
    assigned = assign(of, [guest(1), guest(2, skip="gone soon")])
    with Ledger(tmp_path / "ledger") as ledger:
        found = upkeep(of, assigned, ledger, "20260813", NIGHT)
        kinds = [(each.kind, each.repository) for each in found if each.kind != "prove"]
        assert kinds == [
            ("prune", "off1"), ("prune", "off2"),
            ("gc", "off1"), ("verify", "off1"), ("gc", "off2"), ("verify", "off2"),
        ]  # fmt: skip
        assert found[0].job.params["vms"] == ["web1"] and found[0].job.params["keep_daily"] == 14
        for each in found:
            ledger.keep(
                Job(
                    key=each.key, round="20260813", kind=each.kind, uuid=each.subject, vm="", host="", state="done",
                    repository=each.repository, planned=NIGHT, started=NIGHT, ended=NIGHT,
                )
            )  # fmt: skip
        later = upkeep(of, assigned, ledger, "20260814", NIGHT + DAY)
        assert [each.kind for each in later if each.kind != "prove"] == ["prune", "prune", "verify", "verify"]


def test_a_later_pass_of_a_day_prunes_again_where_points_were_made_since(tmp_path: Path) -> None:
    of = fleet()
    assigned = assign(of, [guest(1)])

    def job(kind: Kind, subject: str, at: float) -> Job:
        return Job(
            key=f"{kind}/{at}", round="x", kind=kind, uuid=subject, vm="", host="", state="done",
            repository="off1", planned=at, started=at, ended=at + 60,
        )  # fmt: skip

    with Ledger(tmp_path / "ledger") as ledger:

        def pruned(round_: str, now: float) -> list[tuple[str, str]]:
            found = upkeep(of, assigned, ledger, round_, now)
            return [(each.repository, each.key) for each in found if each.kind == "prune"]

        ledger.keep(job("backup", guest(1).uuid, NIGHT - 600), job("prune", "gold", NIGHT))
        assert [to for to, _ in pruned("a", NIGHT + 3600)] == ["off2"]
        ledger.keep(job("backup", guest(1).uuid, NIGHT + 7200))
        first, second = pruned("b", NIGHT + 8000), pruned("c", NIGHT + 9000)
        assert [to for to, _ in first] == [to for to, _ in second] == ["off1", "off2"]
        assert not {key for _, key in first} & {key for _, key in second}


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


def test_a_lock_is_the_round_s_work_where_there_can_be_one_and_told_where_not(tmp_path: Path) -> None:
    of = parsed(b"""
hosts: {hv1: {ssh: local}}
repositories: {off1: {url: 's3://vault/ams', key_file: /k}, off2: {url: /r}}
policies:
  gold: {to: [off1, off2], keep: {daily: 14, weekly: 8}, lock: 30d}
  lead: {to: [off1], keep: {daily: 3, hourly: 5}, lock: 36h}
  tin: {to: [off2]}
guests: [{match: all, policy: gold}]
""")
    with Ledger(tmp_path / "ledger") as ledger:
        found = [each for each in upkeep(of, [], ledger, "x", NIGHT) if each.kind == "lock"]
    assert [(each.repository, each.job.task, each.host) for each in found] == [("off1", "backup-lock", "controller")]
    assert found[0].job.params == {
        "repo": "s3://vault/ams", "key_file": "/k", "days": 30,
        "keep_last": 0, "keep_daily": 14, "keep_weekly": 8, "keep_monthly": 0, "keep_yearly": 0,
    }  # fmt: skip
    assert list(unlocked(of)) == ["policy gold wants a lock of 30d, and off2 is no bucket: whoever has its key deletes"]


def test_proofs_are_spread_over_the_nights_of_a_month(tmp_path: Path) -> None:
    of = fleet()
    assigned = assign(of, [guest(number) for number in range(240)])
    with Ledger(tmp_path / "ledger") as ledger:
        nights = [
            {each.subject for each in upkeep(of, assigned, ledger, "x", NIGHT + n * DAY) if each.kind == "prove"}
            for n in range(30)
        ]
    assert sum(map(len, nights)) == len(set().union(*nights)) == 240
    assert max(map(len, nights)) < 24


def noted(ledger: Ledger, found: list[Upkeep], state: State, now: float) -> None:
    """Have them come out so."""
    rows = (
        Job(
            key=each.key, round=each.key.split("/")[1], kind=each.kind, uuid=each.subject, vm=each.vm, host=each.host,
            repository=each.repository, state=state, planned=now, started=now, ended=now,
        )
        for each in found
    )  # fmt: skip
    ledger.keep(*rows)


def proofs(of: Fleet, assigned: list[Assigned], ledger: Ledger, now: float) -> list[Upkeep]:
    return [each for each in upkeep(of, assigned, ledger, stamp(now)[:8], now) if each.kind == "prove"]


def test_a_guest_is_proven_after_its_night_where_that_ends_when_the_window_has_closed(tmp_path: Path) -> None:
    of = fleet()
    assigned = assign(of, [guest(number) for number in range(60)])
    late = NIGHT + 7.5 * 3600  # 06:30
    with Ledger(tmp_path / "ledger") as ledger:
        for night in range(30):
            found = proofs(of, assigned, ledger, late + night * DAY)
            assert len(found) < 12
            noted(ledger, found, "done", late + night * DAY)
            assert proofs(of, assigned, ledger, late + night * DAY + 3600) == []
        assert len(ledger.newest_good("prove")) == 60


def test_a_proof_that_was_missed_or_failed_is_tried_on_later_nights_until_one_goes_well(tmp_path: Path) -> None:
    of = fleet()
    with Ledger(tmp_path / "ledger") as ledger:
        assigned = assign(of, [guest(1)])
        ledger.saw([(one.guest, one.vm, one.policy) for one in assigned], NIGHT - 90 * DAY, [])
        now = next(at for n in range(30) if proofs(of, assigned, ledger, at := NIGHT + n * DAY) if _own(of, at))
        first = proofs(of, assigned, ledger, now)
        noted(ledger, first, "missed", now)
        assert [each.key for each in proofs(of, assigned, ledger, now + 3 * DAY)] == [first[0].key]
        noted(ledger, first, "failed", now + 3 * DAY)
        assert proofs(of, assigned, ledger, now + 3 * DAY + 3600) == []  # not in each pass of a night
        again = proofs(of, assigned, ledger, now + 4 * DAY)
        assert len(again) == 1 and again[0].key != first[0].key
        noted(ledger, again, "running", now + 4 * DAY)
        assert [job.state for job in ledger.newest_tried("prove").values()] == ["failed"]
        noted(ledger, again, "done", now + 4 * DAY)
        assert proofs(of, assigned, ledger, now + 5 * DAY) == []
        assert len(proofs(of, assigned, ledger, now + 30 * DAY)) == 1


def _own(of: Fleet, now: float) -> bool:
    policy = msgspec.structs.replace(of.policies["gold"], every="month")
    return calendar_of(policy, of.zone, uuid(1)).latest(now).opens > now - DAY


def test_those_that_were_missed_are_caught_up_with_some_a_night(tmp_path: Path) -> None:
    of = fleet()
    assigned = assign(of, [guest(number) for number in range(240)])
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.saw([(one.guest, one.vm, one.policy) for one in assigned], NIGHT - 90 * DAY, [])
        nights = []
        for night in range(30):
            found = proofs(of, assigned, ledger, NIGHT + night * DAY)
            noted(ledger, found, "done", NIGHT + night * DAY)
            nights.append(len(found))
        assert len(ledger.newest_good("prove")) == 240
    assert 8 < max(nights) < 32, nights


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
