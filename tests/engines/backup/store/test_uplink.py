"""What leaves for a repository is held to a rate, by the hour, however fast it was read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engines.backup.store.uplink import Rule, Uplink, parse
from engines.job.contract import Progress, RunStopped
from engines.job.errors import BadParam
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.engines.backup import lab

MIB = 1 << 20
DAY = 24 * 60


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("30M", (Rule(0, DAY, 30 * MIB),)),
        ("none", (Rule(0, DAY, 0),)),
        ("07:00-22:00 30M, else none", (Rule(420, 1320, 30 * MIB), Rule(0, DAY, 0))),
        ("22:00-06:30 1G,06:30-07:00 10M", (Rule(1320, 390, 1 << 30), Rule(390, 420, 10 * MIB))),
    ],
)  # fmt: skip
def test_rules_are_read_in_their_order(text: str, rules: tuple[Rule, ...]) -> None:
    assert parse(text) == rules


@pytest.mark.parametrize(
    "text", ["", "0", "0M", "fast", "30%", "7-22 30M", "25:00-26:00 1M", "30M, 40M", "07:00-22:00", "else"]
)
def test_what_is_no_rate_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(BadParam, match="07:00-22:00 30M, else none"):
        parse(text)


def test_hours_may_go_over_midnight() -> None:
    night = Rule(22 * 60, 6 * 60, 1)
    assert [night.holds(hour * 60) for hour in (21, 22, 23, 0, 5, 6, 12)] == [
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert Rule(7 * 60, 7 * 60, 1).holds(0)  # the whole day, as a policy's window is


def test_of_hours_that_overlap_the_first_counts_and_between_them_there_is_no_limit() -> None:
    rules = parse("22:00-06:00 1M, 05:00-08:00 2M, 07:00-12:00 3M")

    def rate(hour: int) -> int:
        return next((rule.rate // MIB for rule in rules if rule.holds(hour * 60)), 0)

    assert [rate(hour) for hour in (23, 0, 5, 6, 7, 8, 11, 12, 21)] == [1, 1, 1, 2, 2, 3, 3, 0, 0]


def test_it_waits_as_long_as_the_rate_asks_and_not_at_all_without_one() -> None:
    waited: list[float] = []
    began = time.monotonic()
    held = Uplink(parse("1M"), waited.append)
    for _ in range(9):
        held.take(MIB)
    passed = time.monotonic() - began  # nobody slept: what the clock went on meanwhile needs no waiting
    assert 8 - passed <= waited[-1] <= 9
    Uplink(parse("none"), lambda _: pytest.fail("it waited")).take(1 << 40)
    Uplink().take(1 << 40)


def test_a_cached_image_is_stored_no_faster_than_the_uplink_allows(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.warm(lab.disk(tmp_path / "disk", {number: number + 1 for number in range(24)}, 24 * MIB))
    began = time.monotonic()
    found = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none", uplink="4M")
    took = time.monotonic() - began
    assert took > (found["stored"] - 2 * MIB) / (4 * MIB)
    again = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none", uplink="4M")
    assert again["stored"] < MIB
    other = lab.init(tmp_path / "other")
    began = time.monotonic()
    found = lab.done("backup-copy", repo=repo, to=other, uplink="4M")
    assert time.monotonic() - began > (found["stored"] - 2 * MIB) / (4 * MIB)


def test_upkeep_goes_no_faster_than_the_uplink_allows(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(16)}, 16 * MIB)
    lab.backup(repo, source)
    began = time.monotonic()
    found = lab.verified(repo=repo, uplink="4M")
    assert time.monotonic() - began > (found["read"] - 2 * MIB) / (4 * MIB) > 1
    first = lab.backup(repo, lab.disk(source, {number: 100 + number for number in range(8)}, 16 * MIB), vm="web2")
    lab.backup(repo, lab.disk(source, {number: 100 + number for number in range(6)}, 16 * MIB), vm="web2")
    lab.done("backup-prune", repo=repo, drop=[first])
    before = sum(lab.packs(repo).values())
    began = time.monotonic()
    lab.done("backup-gc", repo=repo, uplink="1M", threshold=0)
    assert time.monotonic() - began > 1, "about 3 MiB were copied"
    assert sum(lab.packs(repo).values()) < before
    for task in ("backup-gc", "backup-verify"):
        with pytest.raises(BadParam, match="uplink"):
            lab.perform_job(task, repo=repo, uplink="fast")


def test_a_stop_does_not_wait_for_the_uplink(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(24)}, 24 * MIB)
    stop = Stop()

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Progress):
            stop.ask()

    began = time.monotonic()
    _, last = lab.perform_job(
        "backup", stop=stop, listen=listen, repo=repo, source=str(source), vm="web1", limit="none", uplink="64K"
    )
    assert isinstance(last, RunStopped), last
    assert time.monotonic() - began < 180, "at that rate it takes four minutes and more"
