"""Several disks of a VM in one run: points of one time that say which belong together, or no such claim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.backup import names
from engines.backup.repository.byte_source import open_point
from engines.job.contract import Finished, Log, RunFailed
from engines.job.errors import BadParam, Refused
from engines.job.journal import Entry
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB


def crashcart(*words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "engines.cli", "backup", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def repo(tmp_path: Path) -> str:
    return lab.init(tmp_path / "repo")


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [lab.disk(tmp_path / name, {0: number, 3: 9}, 6 * MIB) for number, name in enumerate(("root", "data"))]


def rows(repo: str) -> dict[str, dict[str, Any]]:
    found = json.loads(crashcart("list", "--repo", repo, "--json"))["points"]
    return {row["point"]: row for row in found}


def beside(repo: str, point: str) -> dict[str, bytes]:
    """The other disks of its moment, as whoever looks into it has them; gc spares them meanwhile."""
    repository = lab.opened(repo)
    with open_point(repository, names.parse(point)) as source:
        found = {str(each.point.name): each.read(0, each.size) for each in source.beside()}
        pins = {name for path in Path(repo, "sessions").iterdir() for name in json.loads(path.read_bytes())["pins"]}
    assert {names.parse(each).path() for each in (point, *found)} == pins
    return found


def test_two_disks_become_two_points_of_one_time_that_name_each_other(repo: str, two: list[Path]) -> None:
    words = ["--vm", "web1", "--disk", "root", "--disk", "data", "--limit", "none"]
    said = crashcart("run", str(two[0]), str(two[1]), "--repo", repo, *words, "--json")
    last = json.loads(said.splitlines()[-1])
    first, second = [made["point"] for made in last["result"]["points"]]
    assert last["result"]["together"]
    logs = [event["text"] for event in map(json.loads, said.splitlines()) if event["event"] == "Log"]
    assert {text.split(": ")[0] for text in logs} == {"web1/root", "web1/data"}
    assert first.startswith("web1/root@") and second == first.replace("root", "data")
    listed = rows(repo)
    assert listed[first]["together"] == [second] and listed[second]["together"] == [first]
    for point, source in zip((first, second), two, strict=True):
        assert lab.content(repo, point) == source.read_bytes()
    assert beside(repo, first) == {second: two[1].read_bytes()}


def test_without_names_disks_are_numbered_and_a_block_of_both_is_stored_once(repo: str, two: list[Path]) -> None:
    made = lab.done("backup", repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1", limit="none")
    assert [point["point"].split("@")[0] for point in made["points"]] == ["web1/disk0", "web1/disk1"]
    assert made["stored"] < 3 * 0.6 * MIB
    again = lab.done("backup", repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1", limit="none")
    assert again["changed"] == 0


def test_where_one_disk_fails_the_other_has_a_point_that_claims_no_moment(repo: str, two: list[Path]) -> None:
    def cut(entry: Entry) -> None:
        if isinstance(entry.event, Log):  # both are open by now, and none has been read
            os.truncate(two[1], MIB)

    params = {"source": str(two[0]), "more": (str(two[1]),), "disk": ("root", "data")}
    _, last = lab.perform_job("backup", repo=repo, vm="web1", limit="none", listen=cut, **params)
    assert isinstance(last, RunFailed)
    assert "web1/data: " in last.why and "shrank" in last.why
    (point, row), *others = rows(repo).items()
    assert not others
    assert point.startswith("web1/root@") and point in last.left_behind[0]
    assert row["together"] == [] and row["missing"] == []
    assert lab.content(repo, point) == two[0].read_bytes()


def test_a_point_whose_mate_is_gone_is_listed_as_standing_alone(repo: str, two: list[Path]) -> None:
    made = lab.done("backup", repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1", limit="none")
    first, second = [point["point"] for point in made["points"]]
    lab.done("backup-prune", repo=repo, drop=(second,))
    row = rows(repo)[first]
    assert beside(repo, first) == {}
    assert row["together"] == [] and row["missing"] == [second]
    assert f"without {second}" in crashcart("list", "--repo", repo)


def test_a_disk_in_use_makes_no_claim(repo: str, two: list[Path]) -> None:
    with subprocess.Popen(["sleep", "600"], stdin=two[1].open("r+b")) as user:
        made = lab.done("backup", repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1", limit="none")
        user.kill()
    assert not made["together"]
    assert [point["consistency"] for point in made["points"]] == ["at rest", "in use while read"]


def test_undo_takes_all_of_them_out(repo: str, two: list[Path]) -> None:
    run, last = lab.perform_job("backup", repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1", limit="none")
    assert isinstance(last, Finished)
    _, undone = lab.perform_job(
        "backup", mode="undo", earlier=run.id, repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1"
    )
    assert isinstance(undone, Finished), undone
    assert rows(repo) == {}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"disk": ("root",)}, "one name for each of the 2 disks"),
        ({"disk": ("root", "data", "swap")}, "one name for each of the 2 disks"),
        ({"disk": ("root", "root")}, "each disk once"),
        ({"disk": ("root", "../x")}, "disk is '../x', allowed is letters"),
    ],
)
def test_names_that_do_not_fit_the_disks_are_refused(
    repo: str, two: list[Path], params: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as caught:
        lab.perform_job("backup", repo=repo, source=str(two[0]), more=(str(two[1]),), vm="web1", **params)
    assert words in str(caught.value)


def test_the_same_disk_twice_is_refused(repo: str, two: list[Path]) -> None:
    with pytest.raises(BadParam):
        lab.perform_job("backup", repo=repo, source=str(two[0]), more=(str(two[0]),), vm="web1")


def test_a_job_file_with_one_disk_stays_as_it_was(repo: str, two: list[Path], tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"task: backup\nparams: {{source: {two[0]}, repo: {repo}, vm: web1, disk: root, limit: none}}\n")
    done = subprocess.run([sys.executable, "-m", "engines.cli", "run", str(job)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [name.split("@")[0] for name in rows(repo)] == ["web1/root"]
