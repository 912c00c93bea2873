"""A clock that was wrong once: the points after it keep their real times, and prune counts by those or not at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from engines import tasks
from engines.backup import names
from engines.backup.repository import history
from engines.backup.upkeep import retention
from engines.backup.upkeep.retention import Rules, SeenPoint
from engines.job.contract import Cancel, Plan
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from tests.engines.backup import lab

DAY = 86400.0


def stamped(days: float) -> str:
    return names.stamp(time.time() + days * DAY)


def planned(repo: str, **params: object) -> list[str]:
    """What prune would take out."""
    engine = tasks.engine("backup-prune")
    found = engine.plan(convert(engine.params, {"repo": repo, **params}), Cancel()).detail["go"]
    return [str(name) for name in found]


def nights(tmp_path: Path) -> tuple[str, list[str]]:
    """A repository with a night of a clock ten years ahead, and nine nights that came after it; its points."""
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)
    wrong = names.seconds(stamped(3650))
    made = [lab.dated(repo, lab.backup(repo, source), time_=names.stamp(wrong))]
    for night in range(9):
        lab.disk(source, {0: night + 2}, 2 * lab.MIB)
        point = lab.backup(repo, source)
        assert names.parse(point).time == names.stamp(wrong + night + 1), "by name it comes after its parent"
        made.append(lab.dated(repo, point, time_=names.stamp(wrong + night + 1), taken=stamped(night - 9)))
    return repo, made


def test_a_wrong_clock_is_told_and_prune_counts_by_real_nights_once_its_point_is_out(tmp_path: Path) -> None:
    repo, made = nights(tmp_path)
    warned = lab.warned("backup", repo=repo, source=str(tmp_path / "disk"), vm="web1", limit="none")
    assert any("clock" in text and made[0] in text for text in warned)
    with pytest.raises(Refused, match=f"{made[0]} says that it was made on 2") as refused:
        planned(repo, keep_daily=7)
    assert f"--drop {made[0]}" in refused.value.what_helps
    assert planned(repo, keep_daily=7, drop=[made[0]]) == made[:4]
    lab.done("backup-prune", repo=repo, drop=[made[0]])
    assert planned(repo, keep_daily=7) == made[1:4]
    assert not lab.warned("backup", repo=repo, source=str(tmp_path / "disk"), vm="web1", limit="none")


def test_the_newest_by_chain_is_the_latest_and_always_stays(tmp_path: Path) -> None:
    repo, made = nights(tmp_path)
    with lab.opened(repo) as repository:
        assert str(repository.resolve("web1/disk0@latest")) == made[-1]
    assert made[-1] not in planned(repo, keep_yearly=1, drop=[made[0]])


def test_points_of_a_locked_repository_whose_names_follow_a_wrong_clock_are_not_counted(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    plain = lab.init(tmp_path / "plain")
    source = lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)
    made = [lab.backup(plain, source) for _ in range(3)]
    made = [lab.dated(plain, name, time_=f"20251122T08230{at}Z") for at, name in enumerate(made)]
    repo = lab.init(tmp_path / "repo", cipher="aes-256-gcm", key_file=str(key))
    lab.done("backup-copy", repo=plain, to=repo, to_key_file=str(key))
    with pytest.raises(Refused, match="one second apart"):
        planned(repo, keep_daily=1)
    assert planned(repo, keep_daily=1, key_file=str(key)) == made[:2]


def seen(texts: Sequence[str], zone: str) -> list[SeenPoint]:
    found = [names.PointName("web1", "disk0", text) for text in texts]
    return [SeenPoint(name, datetime.fromtimestamp(names.seconds(name.time), retention.zone(zone))) for name in found]


def test_a_day_is_one_of_the_zone_that_was_chosen() -> None:
    evening = ["20261121T213000Z", "20261121T223000Z"]  # 22:30 and 23:30 in Berlin: one day; UTC: one day
    night = ["20261121T223000Z", "20261121T233000Z"]  # 23:30 and 00:30 in Berlin: two days; UTC: one day
    for texts, zone, kept in ((evening, "Europe/Berlin", 1), (night, "Europe/Berlin", 2), (night, "UTC", 1)):
        assert len(retention.kept(seen(texts, zone), Rules(daily=5))) == kept, (texts, zone)
    with pytest.raises(BadParam, match="Mars"):
        retention.zone("Mars/Olympus")


def test_a_clock_that_was_behind_condemns_no_good_point(tmp_path: Path) -> None:
    """A dead battery: the night of 1 January 2000 comes after real ones, and is told as odd, not they."""
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    made = [lab.backup(repo, source) for _ in range(5)]
    days = (stamped(-4), stamped(-3), "20000101T000000Z", stamped(-2), stamped(-1))
    made = [lab.dated(repo, name, time_=names.parse(name).time, taken=at) for name, at in zip(made, days, strict=True)]
    engine = tasks.engine("backup-prune")
    plan = engine.plan(convert(engine.params, {"repo": repo, "keep_daily": 4}), Cancel())
    assert plan.detail["go"] == [made[2]]
    assert len(plan.warnings) == 1 and made[2] in plan.warnings[0] and "2000-01-01" in plan.warnings[0]


def test_a_clock_before_the_repository_was_made_is_the_one_that_is_doubted(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    parent = lab.backup(repo, source)
    with lab.opened(repo) as repository:
        point = repository.point(names.parse(parent))
        told = list(history.warnings(repository, point, 946_684_800.0, point.head.host, point.head.source, lab.MIB))
        alone = list(history.before_it_was_made(repository, 946_684_800.0))
    assert len(told) == 1 and "2000-01-01" in told[0] and "timedatectl" in told[0] and "--drop" not in told[0]
    assert len(alone) == 1


def test_of_several_points_ahead_it_is_not_said_that_they_are_the_wrong_ones(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    for number in range(7):
        lab.dated(repo, lab.backup(repo, source), time_=stamped(30 + number))
    [told] = lab.warned("backup", repo=repo, source=str(source), vm="web1", limit="none")
    assert "7 points" in told and "One of the two is wrong" in told and told.count("--drop") == 5


def test_a_tag_that_nothing_has_is_told_before_what_was_meant_by_it_goes(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    monthly = lab.backup(repo, source, tag=["monthly", "guest-u-1"])
    for _ in range(2):
        lab.backup(repo, source, tag=["guest-u-1"])

    def kept_by(*tags: str) -> Plan:
        engine = tasks.engine("backup-prune")
        return engine.plan(convert(engine.params, {"repo": repo, "keep_last": 1, "keep_tag": list(tags)}), Cancel())

    assert kept_by("monthly").warnings == ()
    assert monthly not in planned(repo, keep_last=1, keep_tag=["monthly"])
    (told,) = kept_by("mothly").warnings
    assert "no point here has the tag 'mothly'" in told and "did you mean monthly?" in told
    (told,) = kept_by("monthly", "gold").warnings
    assert "there are monthly" in told and "guest-u-1" not in told


@pytest.mark.parametrize("tag", ["gold,silver", "", " ", "gold ", "a\nb"])
def test_a_tag_that_no_rule_would_be_written_with_is_refused(tmp_path: Path, tag: str) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    engine = tasks.engine("backup")
    with pytest.raises(BadParam, match="once for each"):
        engine.plan(convert(engine.params, {"repo": repo, "source": str(source), "vm": "v", "tag": [tag]}), Cancel())
