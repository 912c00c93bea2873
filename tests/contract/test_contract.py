"""What DESIGN promises of every task, held against each of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engines.job import journal, runs
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Finished,
    Progress,
    RunFailed,
    RunStopped,
    Started,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.contract.cases import CASES, Case, contents, snapshot

each = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def performed(
    case: Case, job: Job, listen: Callable[[Entry], None] | None = None, *, stop: Stop | None = None, **info: str
) -> tuple[runs.Run, AnyEvent]:
    run = runs.create(job, case.engine().plan(case.params(job), Cancel()).target, **info)
    return run, perform(run, case.engine(), stop=stop, listen=listen, confirm=AGREED)


def events_of(run: runs.Run) -> list[AnyEvent]:
    return [entry.event for entry in journal.entries(run.journal)]


@each
def test_planning_changes_no_byte_and_gives_the_same_plan_twice(case: Case, tmp_path: Path) -> None:
    job = case.job(tmp_path / "stage")
    before = snapshot(tmp_path / "stage")
    first, second = (case.engine().plan(case.params(job), Cancel()) for _ in range(2))
    assert snapshot(tmp_path / "stage") == before
    assert first.digest == second.digest != ""
    assert first == second


@each
def test_a_run_tells_its_steps_in_order_and_its_progress_never_goes_back(case: Case, tmp_path: Path) -> None:
    run, last = performed(case, case.job(tmp_path / "stage"))
    assert isinstance(last, Finished), last
    events = events_of(run)
    plan = run.plan()
    assert plan is not None
    assert isinstance(events[0], Started)
    assert [event.step for event in events if isinstance(event, StepStarted)] == [step.id for step in plan.steps]
    assert [event.step for event in events if isinstance(event, StepEnded)] == [step.id for step in plan.steps]
    at: Progress | None = None
    for event in events:
        if isinstance(event, Progress):
            assert 0 <= event.done <= event.total
            if at is not None:
                assert (event.total, event.unit) == (at.total, at.unit)
                assert event.done >= at.done
        at = event if isinstance(event, Progress) else (None if isinstance(event, StepStarted) else at)


@each
def test_stopping_at_any_event_leaves_the_target_as_it_was(case: Case, tmp_path: Path) -> None:
    total = len(events_of(performed(case, case.job(tmp_path / "whole"))[0]))
    stopped = 0
    for nth in range(total):
        stage = tmp_path / f"stage{nth}"
        job = case.job(stage)
        before = contents(stage)
        stop = Stop()

        def listen(entry: Entry, stop: Stop = stop, nth: int = nth) -> None:
            if entry.seq == nth:
                stop.ask()

        run, last = performed(case, job, listen, stop=stop)
        if isinstance(last, RunStopped):
            stopped += 1
            assert contents(stage) == before or last.left_behind
        else:
            assert isinstance(last, Finished), last
            assert run.status() in ("done", "warned")
    assert stopped > 0


def killed_at(moment: AnyEvent, case: Case, job: Job) -> runs.Run:
    """A run whose process is gone by SIGKILL once that event is on disk, before what follows it."""
    run = runs.create(job, case.engine().plan(case.params(job), Cancel()).target)
    child = os.fork()
    if child == 0:

        def listen(entry: Entry) -> None:
            if entry.event == moment or (isinstance(entry.event, Progress) and isinstance(moment, Progress)):
                os.kill(os.getpid(), signal.SIGKILL)

        perform(run, case.engine(), listen=listen, confirm=AGREED)
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    return run


@each
@pytest.mark.parametrize("mode", ["resume", "undo"])
def test_a_run_killed_at_any_step_is_found_and_then_finished_or_taken_back(
    case: Case, mode: str, tmp_path: Path
) -> None:
    whole, _ = performed(case, case.job(tmp_path / "whole"))
    moments = [event for event in events_of(whole) if isinstance(event, StepStarted | StepEnded)]
    moments += [event for event in events_of(whole) if isinstance(event, Progress)][:1]
    for nth, moment in enumerate(moments):
        stage = tmp_path / f"at{nth}"
        job = case.job(stage)
        before = contents(stage)
        run = killed_at(moment, case, job)
        assert run.status() == "interrupted"
        assert run.id in [found.id for found in runs.interrupted(run.info().target)]
        taken_up = runs.create(job, run.info().target, mode=mode, earlier=run.id)
        last = perform(taken_up, case.engine(), confirm=AGREED)
        if mode == "resume":
            assert isinstance(last, Finished), (moment, last)
        else:
            assert isinstance(last, Finished) or (isinstance(last, RunFailed) and last.what_helps), (moment, last)
            assert contents(stage) == before
        assert run.id not in [found.id for found in runs.interrupted()]


@each
def test_a_finished_run_is_undone_to_the_byte(case: Case, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    job = case.job(stage)
    before = contents(stage)
    run, last = performed(case, job)
    assert isinstance(last, Finished)
    assert contents(stage) != before
    undone = runs.create(job, run.info().target, mode="undo", earlier=run.id)
    assert isinstance(perform(undone, case.engine(), confirm=AGREED), Finished)
    assert contents(stage) == before


@each
def test_a_review_that_no_longer_holds_is_refused_with_nothing_touched(case: Case, tmp_path: Path) -> None:
    job = case.job(tmp_path / "stage")
    before = snapshot(tmp_path / "stage")
    _, last = performed(case, job, reviewed="of another world")
    assert isinstance(last, RunFailed)
    assert last.refused
    assert last.what_helps
    assert snapshot(tmp_path / "stage") == before


@each
def test_every_refusal_names_the_next_action_and_touches_nothing(case: Case, tmp_path: Path) -> None:
    job = case.job(tmp_path / "stage")
    before = snapshot(tmp_path / "stage")
    assert case.wrong
    for wrong in case.wrong:
        with pytest.raises(Refused) as refused:
            case.engine().plan(convert(case.engine().params, {**job.params, **wrong}), Cancel())
        assert refused.value.why
        assert refused.value.what_helps
    assert snapshot(tmp_path / "stage") == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A state disk of 4 MiB."""
    import subprocess

    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "crashcart-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@each
def test_a_state_disk_that_fills_up_does_not_stop_the_work(
    case: Case, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk))
    job = case.job(tmp_path / "stage")

    def fill(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and not (small_disk / "filler").exists():
            with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(b"x" * 4096)

    run, last = performed(case, job, fill)
    assert (small_disk / "filler").exists()
    assert isinstance(last, Finished), last
    assert isinstance(events_of(run)[-1], Finished)


@each
def test_a_full_state_disk_is_refused_before_anything_is_touched(
    case: Case, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk))
    job = case.job(tmp_path / "stage")
    before = snapshot(tmp_path / "stage")
    (small_disk / "filler").write_bytes(b"x" * (4 * 1024 * 1024 - 256 * 1024))
    _, last = performed(case, job)
    assert isinstance(last, RunFailed)
    assert last.refused
    assert last.what_helps
    assert snapshot(tmp_path / "stage") == before
