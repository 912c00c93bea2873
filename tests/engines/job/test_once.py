"""`--once KEY`: done gives its result, what runs is followed, two starters start one run, a kill hinders nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import engines
from engines.job import detach, once, runs, tidy
from engines.job.errors import BadParam, Refused
from engines.job.runs import Run
from tests.engines.backup import lab

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job file for a backup, whose runs leave points."""
    repo = lab.init(tmp_path / "repo")
    image = lab.disk(tmp_path / "web1.img", {0: 1}, lab.MIB)
    path = tmp_path / "job.yaml"
    path.write_text(f"task: backup\nparams: {{repo: '{repo}', source: '{image}', vm: web1, limit: none}}\n")
    return path


def crashcart(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "engines.cli", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=env, timeout=300)


def started() -> list[str]:
    return [run.id for run in runs.every() if run.info().task == "backup"]


def test_what_is_done_gives_its_result_again_and_runs_no_second_time(job: Path) -> None:
    first = crashcart("run", str(job), "--once", "round/web1", "--json")
    second = crashcart("run", str(job), "--once", "round/web1", "--json")
    assert (first.returncode, second.returncode) == (0, 0), (first, second)
    assert first.stdout.splitlines()[-1] == second.stdout.splitlines()[-1]
    assert len(started()) == 1
    assert crashcart("run", str(job), "--once", "round/web2", "--quiet").returncode == 0
    assert len(started()) == 2


def test_of_many_starters_at_once_one_starts_and_all_see_the_end(job: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: crashcart("run", str(job), "--once", "key", "--json"), range(4)))
    assert [one.returncode for one in ended] == [0] * 4, ended
    assert len({one.stdout.splitlines()[-1] for one in ended}) == 1
    assert len(started()) == 1


def test_the_right_to_start_goes_to_the_run_and_ends_with_it(job: Path) -> None:
    begun = engines.start("backup", once="key", **params(job))
    for _ in detach.follow(begun):
        pass
    found = once.settle("key")
    assert isinstance(found, Run) and found.id == begun.id
    assert engines.start("backup", once="key", **params(job)).id == begun.id


def params(job: Path) -> dict[str, str]:
    from engines.job.jobfile import load

    return {str(name): value for name, value in load(job).params.items()}


def test_a_run_that_was_killed_is_no_hindrance(job: Path) -> None:
    child = os.fork()
    if child == 0:
        claim = once.settle("key")
        assert isinstance(claim, once.Claim)
        run = runs.create(engines.work("backup", params(job)).job, "web1")
        claim.begin(run)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    found = once.settle("key")
    assert isinstance(found, once.Claim)
    with found:
        assert once.find("key") is not None


def test_a_run_that_failed_is_tried_anew(job: Path) -> None:
    image = Path(params(job)["source"])
    content = image.read_bytes()
    image.unlink()
    assert crashcart("run", str(job), "--once", "key").returncode == 3
    image.write_bytes(content)
    assert crashcart("run", str(job), "--once", "key").returncode == 0


def test_keys_of_runs_that_were_removed_are_forgotten(job: Path, tmp_path: Path) -> None:
    assert crashcart("run", str(job), "--once", "key").returncode == 0
    folder = tmp_path / "xdg-state" / "crashcart" / "once"
    assert len(list(folder.iterdir())) == 2
    run = once.find("key")
    assert run is not None
    for path in run.folder.iterdir():
        path.unlink()
    run.folder.rmdir()
    tidy.prune(100, 90)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("key", ["", "a\nb", "k" * 600])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(BadParam):
        once.settle(key)


def test_a_damaged_record_is_named_and_hinders_nobody_once_it_is_away() -> None:
    """In one process: the right to start is not kept by the refusal."""
    with once.settle("night") as claim:
        record = claim.path
    record.write_text("{")
    for _ in range(2):
        with pytest.raises(Refused, match=record.name):
            once.settle("night", stopped=lambda: True)
    record.unlink()
    found = once.settle("night", stopped=lambda: True)
    assert isinstance(found, once.Claim)
    with found:
        assert found.key == "night"


def test_what_systemd_calls_a_run_is_its_own_where_two_homes_have_a_run_of_one_name() -> None:
    first, other = detach.unit("20261130T114835Z-backup-web1"), detach.unit("20261130T114835Z-backup-web1")
    assert first != other
    assert first.startswith("crashcart-20261130T114835Z-backup-web1-")
