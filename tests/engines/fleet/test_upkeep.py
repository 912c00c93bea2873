"""Pruning, locking and proving are planned after the night that they belong to, and made up for."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.backup.names import stamp
from engines.fleet.config.load import parsed
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job, Kind, State
from engines.fleet.planning.assigning import Assigned, assign
from engines.fleet.planning.upkeep import Upkeep, unlocked, upkeep
from engines.fleet.planning.wanted import calendar_of
from tests.engines.fleet.simulated import DAY, NIGHT, fleet, guest, uuid


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
