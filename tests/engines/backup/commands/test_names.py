"""What a VM may be called, which points a name means, and what is told where one name stands for two disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import tasks
from engines.backup import names
from engines.backup.commands import listing
from engines.backup.engine import LOOKS
from engines.backup.repository.repository import Repository
from engines.job.contract import Cancel, Finished
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from tests.engines.backup import lab


@pytest.mark.parametrize("name", [".tmp-x", ".hidden", "-rf", "--drop"])
def test_a_name_like_a_hidden_file_or_an_option_is_refused(tmp_path: Path, name: str) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    engine = tasks.engine("backup")
    for given in ({"vm": name}, {"vm": "web1", "disk": [name]}):
        with pytest.raises(BadParam):
            engine.plan(convert(engine.params, {"repo": repo, "source": str(source), **given}), Cancel())


def test_points_that_were_stored_under_a_hidden_name_are_listed(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    point = lab.backup(repo, source)
    folder = Path(repo, "points")
    (folder / "web1").rename(folder / ".tmp-x")
    with lab.opened(repo) as repository:
        assert [str(name) for name in repository.names()] == [point.replace("web1", ".tmp-x")]


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        ("web1", ["web1/disk0"]),
        ("web1/", ["web1/disk0"]),
        ("web1/disk0", ["web1/disk0"]),
        ("web1/disk", []),
        ("web*", ["web1/disk0", "web10/disk0"]),
        ("*/disk0", ["web1/disk0", "web10/disk0"]),
        ("web1@2026", ["web1/disk0"]),
        ("web1@2025", []),
        ("", ["web1/disk0", "web10/disk0"]),
        ("web1/disk0/x", []),
    ],
)
def test_a_name_means_whole_parts_and_a_pattern_only_by_choice(wanted: str, means: list[str]) -> None:
    known = [names.PointName(vm, "disk0", "20261122T082300Z") for vm in ("web1", "web10")]
    assert [f"{name.vm}/{name.disk}" for name in known if names.selected(name, wanted)] == means


def test_prune_only_takes_no_other_vm_whose_name_begins_so(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    made = {vm: [lab.backup(repo, source, vm) for _ in range(2)] for vm in ("web1", "web10")}
    assert lab.done("backup-prune", repo=repo, only="web1", keep_last=1)["pruned"] == made["web1"][:1]
    engine = tasks.engine("backup-prune")
    with pytest.raises(Refused, match="no disk here is called 'web'"):
        engine.plan(convert(engine.params, {"repo": repo, "only": "web", "keep_last": 1}), Cancel())


def test_a_tag_that_no_point_has_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    bare = [lab.backup(repo, source, "web2")]
    lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none", tag=["before-update", "guest-u-1"])
    with lab.opened(repo) as repository:

        def found(**wanted: str) -> list[str]:
            rows = listing.listed(repository, listing.ListParams(repo=repo, **wanted)).points  # type: ignore[arg-type]
            return [row.point.partition("/")[0] for row in rows]

        assert found(tag="before-update") == ["web1"] and len(found()) == len(bare) + 1
        with pytest.raises(Refused, match=r"mean before-update\?; there are before-update, guest-u-1; see all"):
            found(tag="before-updat")
        with pytest.raises(Refused, match="no point has any"):
            found(tag="before-update", only="web2")


def test_a_disk_that_shrank_or_is_another_is_told_and_a_list_says_where_each_came_from(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, 4 * lab.MIB)
    lab.backup(repo, source)
    other = lab.disk(tmp_path / "other", {0: 1}, 2 * lab.MIB)
    warned = lab.warned("backup", repo=repo, source=str(other), vm="web1", limit="none")
    assert any("shrank from 4.0 MiB (4194304 bytes) to 2.0 MiB" in text for text in warned)
    assert any(f"was read from file {source}, now it is file {other}" in text for text in warned)
    with lab.opened(repo) as repository:
        rows = listing.listed(repository, listing.ListParams(repo=repo)).points
    assert [row.source for row in rows] == [f"file {source}", f"file {other}"]
    assert all(row.host and row.taken and row.consistency for row in rows)
    assert [row.size for row in rows] == [4 * lab.MIB, 2 * lab.MIB]


def test_a_list_shows_one_line_a_disk_and_what_filters_leave(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    first, last = lab.backup(repo, source, tag=["gold"]), lab.backup(repo, source)
    lab.verified(repo=repo)
    newest = lab.backup(repo, source)
    with lab.opened(repo) as repository:

        def asked(**params: object) -> listing.Listed:
            return listing.listed(repository, convert(listing.ListParams, {"repo": repo, **params}))

        (disk,) = asked(disks=True).disks
        assert (disk.disk, disk.points, disk.newest, disk.last_good) == ("web1/disk0", 3, newest, last)
        assert [row.point for row in asked(tag="gold").points] == [first]
        assert [row.point for row in asked(last=1).points] == [newest]
        assert asked(bad=True).points == []
        assert "last proven whole" in listing.table(asked(disks=True))


def test_advice_can_be_pasted_whatever_the_repository_is_called(tmp_path: Path) -> None:
    _, last = lab.perform_job("backup-init", repo=str(tmp_path / "my backups; rm x"))
    assert isinstance(last, Finished)
    assert f"--repo '{tmp_path}/my backups; rm x'" in last.then[-1]


@pytest.mark.parametrize("task", ["list", "search"])
def test_a_guest_that_is_mistyped_is_no_empty_list(tmp_path: Path, task: str) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    point = lab.backup(repo, source, "shop-db")
    look = next(each for each in LOOKS if each.verb == task)
    given = {"repo": repo, "pattern": "*"} if task == "search" else {"repo": repo}

    def asked(only: str) -> Refused:
        with pytest.raises(Refused) as refused:
            look.answer(convert(look.params, {**given, "only": only}))
        return refused.value

    assert "no disk here is called 'shop-bd'" in asked("shop-bd").why
    assert asked("shop-bd").what_helps.startswith("did you mean shop-db?")
    assert asked("shop-db/disk1").what_helps.startswith("did you mean shop-db/disk0?")
    assert "no point here is called 'shop-db@1999'" in asked("shop-db@1999").why
    assert "did you mean" not in asked("mail").what_helps
    with Repository.glance(repo) as glance, pytest.raises(Refused, match="did you mean shop-db/disk0"):
        glance.resolve(point.replace("db", "bd"))
