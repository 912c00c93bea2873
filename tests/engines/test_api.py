"""The face for scripts: what README shows runs as written, and every promise of the command line holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import engines
from engines.job import runs
from engines.job.contract import Plan
from engines.rehearsal import disk
from tests.engines.backup import lab
from tests.engines.failover.stage import open_stage

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A folder as README's snippets expect it, and this process in it."""
    lab.init(tmp_path / "repo")
    disk.write(tmp_path / "web1.img", 0)
    lab.done("backup", source=str(tmp_path / "web1.img"), repo=str(tmp_path / "repo"), vm="web1", limit="none")
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.mark.parametrize("at", range(5), ids=["plan and run", "question", "file", "follow", "stop"])
def test_what_readme_shows_runs_as_written(at: int, here: Path) -> None:
    assert len(SNIPPETS) == 5
    with open_stage() as stage:
        if at == 1:
            stage.names("shop.test", ["127.0.0.2", "127.0.0.3"], port=5300)
        ran = subprocess.run(
            [sys.executable, "-c", SNIPPETS[at]],
            capture_output=True,
            text=True,
            check=False,
            cwd=here,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert ran.returncode == 0, ran.stderr
    said = ["done", "shop.test", "shop", "Finished", "RunStopped"][at]
    assert said in ran.stdout


def test_a_script_overwrites_nothing_without_the_word(here: Path) -> None:
    image = here / "web1.img"
    before = image.read_bytes()
    wanted = {"repo": "repo", "point": "web1/disk0@latest", "target": "web1.img"}
    for word in ("", "wrong", lambda plan: "yes"):
        ended = engines.run("backup-restore", confirm=word, **wanted)
        assert (ended.status, ended.code) == ("refused", 3)
        assert "web1.img" in ended.what_helps
        assert image.read_bytes() == before
        assert Path(ended.report).read_text().startswith("# crashcart backup-restore")
    with pytest.raises(engines.Refused):
        engines.undo(ended.run)


def test_a_run_has_its_report_and_a_typed_result(here: Path) -> None:
    heard = []
    ended = engines.run("backup-restore", repo="repo", point="web1/disk0@latest", target="new.img", listen=heard.append)
    assert ended.ok, ended
    assert ended.result.target == str(here / "new.img")
    assert ended.result.written > 0
    assert heard[0].event.run == ended.run
    assert "new.img" in Path(ended.report).read_text()
    undone = engines.undo(ended.run)
    assert undone.ok
    assert not (here / "new.img").exists()


def test_a_relative_path_means_the_same_file_wherever_the_run_stands(here: Path) -> None:
    run = engines.start("backup", source="web1.img", repo="repo", vm="web2")
    last = [entry.event for entry in engines.follow(run)][-1]
    assert type(last).__name__ == "Finished", last
    job = run.job()
    assert job.params["source"] == str(here / "web1.img")
    assert job.params["repo"] == str(here / "repo")


def test_a_home_is_understood(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    made: Plan = engines.plan("backup-restore", repo="~/repo", point="web1/disk0@latest", target="~/new.img")
    assert made.target == str(here / "new.img")


def test_a_refusal_names_the_parameter_and_the_next_action() -> None:
    with pytest.raises(engines.BadParam) as bad:
        engines.plan("backup-restore", repo="/nowhere", point="x", target="/tmp/x")
    assert bad.value.name == "point" and bad.value.what_helps
    with pytest.raises(engines.Refused, match="no parameter"):
        engines.plan("backup-restore", colour="red")
    with pytest.raises(engines.Refused, match="unknown"):
        engines.run("backup-fly")
    with pytest.raises(engines.Refused, match="no question"):
        engines.look("failover", "guess")


def test_a_task_is_known_by_its_verb_too() -> None:
    names = ("backup-run", "virtio-convert", "failover-lab", "vdx-fix", "biosiso-build")
    assert [engines.work.__module__] * 5 == ["engines.api"] * 5
    for name in names:
        assert engines.schema(name) == engines.schema(name.partition("-")[0])


def test_every_run_has_a_schema_for_its_job_and_its_result() -> None:
    from engines.tasks import TASKS

    for task in TASKS.values():
        for engine in task.engines():
            found = engines.schema(engine.name)
            assert found["job"]["properties"]["task"]["const"] == engine.name
            assert engine.result is not dict, engine.name
            keys = found["result"]["$defs"][engine.result.__name__]["properties"]
            assert keys and all(re.fullmatch("[a-z][a-z0-9_]*", key) for key in keys), engine.name


def test_last_is_the_run_created_last(here: Path) -> None:
    for number in range(6):
        engines.run("backup-restore", repo="repo", point="web1/disk0@latest", target=f"{'zyxwvu'[number]}.img")
        assert runs.find("last").info().target == str(here / f"{'zyxwvu'[number]}.img")
