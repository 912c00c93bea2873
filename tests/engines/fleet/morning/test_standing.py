"""A guest is green only where the repositories hold whole, young points of all its disks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.backup.guests.model import Guest, GuestDisk
from engines.backup.upkeep.newest import Newest
from engines.fleet.agent.holding import Holding
from engines.fleet.config.load import parsed
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.holds import Hold
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job, Known
from engines.fleet.morning.holdings import Holdings
from engines.fleet.morning.looking import emptied
from engines.fleet.morning.standing import Row, Standing, rows
from engines.fleet.planning.assigning import assign

NOW = 1_800_000_000.0
HOUR = 3600.0
FLEET = parsed(b"""
hosts: {hv1: {ssh: local}}
repositories: {near: {url: /r}, far: {url: 's3://vault/r'}}
policies: {gold: {to: [near, far], every: day, late: 36h, prove: month}}
guests: [{skip: 'tmp-*', why: scratch}, {match: {name: 'web*'}, policy: gold}]
""")


def guest(name: str = "web1", **changed: Any) -> Guest:
    disks = (GuestDisk(name="vda", source="/a", kind="file", format="raw"),)
    return msgspec.structs.replace(
        Guest(uuid=f"u-{name}", name=name, running=False, found="libvirt", disks=disks, host="hv1"), **changed
    )


def disk(vm: str = "web1", age: float = 5 * HOUR, **changed: Any) -> Newest:
    at = NOW - age
    made = Newest(
        vm=vm, disk="vda", point=f"{vm}/vda@20270101T000000Z", taken=at, good=at, points=3, stored=10, size=20
    )
    return msgspec.structs.replace(made, **changed)


def held(near: tuple[Newest, ...], far: tuple[Newest, ...]) -> Holdings:
    return Holdings(held={"near": Holding(disks=near), "far": Holding(disks=far)})


def known(one: Guest, first: float = NOW - 90 * 24 * HOUR, gone: float | None = None) -> Known:
    return Known(
        uuid=one.uuid,
        vm=one.name,
        name=one.name,
        host="hv1",
        policy="gold",
        first=first,
        seen=NOW,
        gone=gone,
        guest=one,
    )


def job(state: str, ended: float, **changed: Any) -> dict[tuple[str, str], Job]:
    made = Job(key="k", round="r", kind="backup", uuid="u-web1", vm="web1", host="hv1", repository="far",
               state=state, ended=ended, why="disk full", what_helps="make room")  # fmt: skip
    return {("u-web1", "far"): msgspec.structs.replace(made, **changed)}


def stands(
    holdings: Holdings, one: Guest | None = None, jobs: dict[tuple[str, str], Job] | None = None, **of: Any
) -> Row:
    one = one or guest()
    seen = [known(one, **of)]
    (row,) = rows(FLEET, assign(FLEET, [one], seen), seen, holdings, jobs or {}, NOW)
    return row


def test_young_and_whole_in_every_repository_is_good() -> None:
    row = stands(held((disk(),), (disk(age=9 * HOUR),)))
    assert (row.light, row.age, row.where, row.stored, row.size) == ("good", 9 * HOUR, ("near", "far"), 20, 20)


@pytest.mark.parametrize(
    ("holdings", "light", "words"),
    [
        (held((disk(),), (disk(age=37 * HOUR),)), "late", "37 h"),
        (held((disk(),), ()), "late", "no backup yet in far"),
        (held((disk(),), (disk(trouble="3 of its blocks lie in no pack that is there"),)), "failed", "in no pack"),
        (Holdings(held={"near": Holding(disks=(disk(),))}, silent={"far": "no route"}), "unknown", "no route"),
    ],
)  # fmt: skip
def test_anything_else_is_not(holdings: Holdings, light: str, words: str) -> None:
    row = stands(holdings)
    assert row.light == light and words in row.why, row


def test_a_point_from_the_future_is_no_reason_to_be_green() -> None:
    row = stands(held((disk(age=-90 * HOUR),), (disk(),)))
    assert row.light == "failed" and "time to come" in row.why, row


def test_a_guest_is_covered_by_its_tag_whatever_its_points_are_called() -> None:
    own, other = disk("old-name", guest="u-web1"), disk(guest="u-another")
    row = stands(held((own,), (own, other)))
    assert (row.light, row.where, row.stored) == ("good", ("near", "far"), 20)
    assert stands(held((disk(guest="u-web1"),), (disk(age=90 * HOUR), own))).light == "good"  # once without a tag


def test_points_of_another_guest_that_was_called_so_do_not_count() -> None:
    foreign = disk(guest="u-another")
    row = stands(held((disk(guest="u-web1"),), (foreign,)))
    assert (row.light, row.why) == ("late", "no backup yet in far (web1 in far is another guest's)")
    (gone,) = rows(FLEET, [], [known(guest(), gone=NOW)], held((foreign,), (foreign,)), {}, NOW)
    assert (gone.light, gone.where, gone.age) == ("gone", (), None)


def test_a_guest_that_was_just_found_is_new_until_it_would_be_late() -> None:
    assert stands(held((), ()), first=NOW - HOUR).light == "new"
    assert stands(held((), ()), first=NOW - 37 * HOUR).light == "late"


def test_a_failure_counts_until_a_point_is_younger() -> None:
    points = held((disk(),), (disk(),))
    row = stands(points, jobs=job("failed", NOW - HOUR))
    assert (row.light, row.why, row.what_helps) == ("failed", "disk full", "make room")
    assert stands(points, jobs=job("failed", NOW - 6 * HOUR)).light == "good"
    assert stands(points, jobs=job("done", NOW - HOUR)).light == "good"


def test_a_restore_that_was_tried_and_failed_makes_nobody_green() -> None:
    seen = [known(guest())]
    points = held((disk(),), (disk(),))

    def light(state: str) -> Row:
        proofs = {("u-web1", "near"): job(state, NOW, kind="prove", repository="near")["u-web1", "far"]}
        return rows(FLEET, assign(FLEET, [guest()], seen), seen, points, {}, NOW, {}, proofs)[0]

    assert light("done").light == light("warned").light == light("waiting").light == "good"
    assert (light("failed").light, light("failed").why) == ("failed", "its restore was tried and failed: disk full")
    assert light("refused").light == "failed" and light("missed").light == light("running").light == "good"


@pytest.mark.parametrize(
    ("states", "light"),
    [
        ("missed", "good"),
        ("done missed", "good"),
        ("failed missed", "failed"),
        ("failed waiting", "failed"),
        ("failed running", "failed"),
        ("refused running", "failed"),
        ("failed done", "good"),
        ("done failed", "failed"),
    ],
)
def test_the_last_proof_that_came_out_is_the_one_that_counts(states: str, light: str, tmp_path: Path) -> None:
    seen, points = [known(guest())], held((disk(),), (disk(),))
    (made,) = job("done", NOW, kind="prove", repository="near").values()
    with Ledger(tmp_path / "ledger") as ledger:
        for number, state in enumerate(states.split()):
            at = NOW - 99 + number
            ledger.keep(msgspec.structs.replace(made, key=f"k{number}", planned=at, state=state))  # type: ignore[arg-type]
        proofs = ledger.newest_tried("prove", NOW)
    (row,) = rows(FLEET, assign(FLEET, [guest()], seen), seen, points, {}, NOW, {}, proofs)
    assert row.light == light, row


def test_a_proof_counts_only_where_the_policy_still_proves() -> None:
    seen, points = [known(guest())], held((disk(),), (disk(),))
    bad = job("failed", NOW, kind="prove", repository="near")
    other = {("u-web1", "far"): job("failed", NOW, kind="prove")["u-web1", "far"]}
    near = {("u-web1", "near"): bad["u-web1", "far"]}
    gold = FLEET.policies["gold"]
    never = msgspec.structs.replace(FLEET, policies={"gold": msgspec.structs.replace(gold, prove=None)})

    def light(fleet: Fleet, proofs: dict[tuple[str, str], Job]) -> str:
        return rows(fleet, assign(fleet, [guest()], seen), seen, points, {}, NOW, {}, proofs)[0].light

    assert light(FLEET, near) == "failed"
    assert light(FLEET, other) == light(never, near) == "good"


def test_no_rule_no_disk_and_half_a_guest_are_uncovered_and_come_first() -> None:
    half = guest(
        "web2",
        disks=(*guest().disks, GuestDisk(name="vdb", source="rbd:x", kind="network", why="it is on the network")),
    )
    some = [guest(), half, guest("db1"), guest("tmp-1")]
    seen = [known(one) for one in some]
    points = tuple(disk(one.name) for one in some)
    found = rows(FLEET, assign(FLEET, some, seen), seen, held(points, points), {}, NOW)
    assert [(row.name, row.light) for row in found] == [
        ("db1", "uncovered"), ("web2", "uncovered"), ("web1", "good"), ("tmp-1", "skipped"),
    ]  # fmt: skip
    assert "it is on the network" in found[1].why and found[3].why == "scratch"


def test_who_is_gone_keeps_its_points_and_is_told() -> None:
    seen = [known(guest(), gone=NOW - 48 * HOUR)]
    (row,) = rows(FLEET, [], seen, held((disk(age=60 * HOUR),), ()), {}, NOW)
    assert (row.light, row.where, row.age) == ("gone", ("near",), 60 * HOUR)
    assert "its points are kept" in row.why and "backup prune" in row.what_helps


def test_a_host_that_shows_none_of_its_guests_is_not_green_until_it_is_said_to_be_meant() -> None:
    lost = [known(guest(name), gone=NOW) for name in ("web1", "web2")]
    scratch = [msgspec.structs.replace(one, policy="") for one in lost]
    said = emptied(FLEET, lost, {}, [])
    assert "answers and shows no guest; it had 2" in said["hv1"] and "fleet hold host:hv1" in said["hv1"]
    assert "it had 1:" in emptied(FLEET, [lost[0], scratch[1]], {}, [])["hv1"]
    assert Standing(at=NOW, rows=(), emptied=said).bad and not Standing(at=NOW, rows=()).bad
    moved = [msgspec.structs.replace(one, host="hv2", gone=None) for one in lost]
    held_ = Hold(what="host", id="hv1", name="hv1", why="it is taken apart", since=NOW)
    assert emptied(FLEET, [lost[0], known(guest("web2"))], {}, []) == {}
    assert emptied(FLEET, moved, {}, []) == emptied(FLEET, scratch, {}, []) == emptied(FLEET, [], {}, []) == {}
    assert emptied(FLEET, lost, {"hv1": "no route"}, []) == emptied(FLEET, lost, {}, [held_]) == {}
