"""A run that was killed is found without reading those that are done, whoever made it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from engines.job import runs, unfinished
from engines.job.contract import StepStarted
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.perform import perform
from tests.agreed import AGREED
from tests.contract.copier import Copier


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "source").write_text("cold console")
    return Job(task="copier", params={"source": str(tmp_path / "source"), "output": str(tmp_path / "out")})


def begun(job: Job, *, kill: bool = False) -> runs.Run:
    run = runs.create(job, job.params["output"])
    child = os.fork()
    if child == 0:

        def listen(entry: Entry) -> None:
            if kill and isinstance(entry.event, StepStarted):
                os.kill(os.getpid(), signal.SIGKILL)

        perform(run, Copier(), listen=listen, confirm=AGREED)
        os._exit(0)
    os.waitpid(child, 0)
    return run


def found() -> list[str]:
    return [run.id for run in runs.interrupted()]


def test_a_run_is_marked_until_its_last_word(job: Job) -> None:
    done, killed = begun(job), begun(job, kill=True)
    assert unfinished.marked(runs.home()) == [killed.id]
    assert found() == [killed.id]
    assert done.status() == "done"


def test_runs_that_are_done_are_not_read(job: Job) -> None:
    done, killed = begun(job), begun(job, kill=True)
    (done.folder / "run.json").unlink()
    (done.folder / "run.json").mkdir()  # to read it now is an error
    assert found() == [killed.id]


def test_a_run_that_is_taken_up_is_not_offered_again(job: Job) -> None:
    killed = begun(job, kill=True)
    again = runs.create(job, job.params["output"], mode="resume", earlier=killed.id)
    assert found() == []
    assert unfinished.marked(runs.home()) == [again.id]


def test_a_mark_that_outlived_its_run_is_let_go_of(job: Job) -> None:
    done, gone = begun(job), begun(job, kill=True)
    unfinished.mark(runs.home(), done.id)
    shutil.rmtree(gone.folder)
    assert found() == []
    assert unfinished.marked(runs.home()) == [gone.id], "a run without a record may be one that begins just now"


def test_runs_of_before_there_were_marks_are_found_still(job: Job) -> None:
    begun(job)
    killed = begun(job, kill=True)
    shutil.rmtree(runs.home().parent / "unfinished")
    assert found() == [killed.id]
    begun(Job(task="copier", params={**job.params, "output": f"{job.params['output']}-2"}))
    assert found() == [killed.id], "also after the first mark"
