"""What DESIGN promises of every task's run: its steps, its stop, its undo and its word."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engines.job.contract import (
    Finished,
    Progress,
    RunFailed,
    RunStopped,
    Started,
    StepEnded,
    StepStarted,
)
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.contract.performing import asks, each, events_of, over, performed
from tests.contract.target import Case


@each
def test_a_run_tells_its_steps_in_order_and_its_progress_never_goes_back(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        run, last = performed(case, target)
        assert over(case, last), last
        events = events_of(run)
        plan = run.plan()
        assert plan is not None
        assert isinstance(events[0], Started)
        steps = [step.id for step in plan.steps]
        assert [event.step for event in events if isinstance(event, StepStarted)] == steps
        if isinstance(last, Finished):
            assert [event.step for event in events if isinstance(event, StepEnded)] == steps
        at: Progress | None = None
        for event in events:
            if isinstance(event, Progress):
                assert 0 <= event.done <= event.total
                if at is not None:
                    assert (event.total, event.unit) == (at.total, at.unit)
                    assert event.done >= at.done
            at = event if isinstance(event, Progress) else (None if isinstance(event, StepStarted) else at)
        assert run.report.read_text().startswith("# crashcart")
        if isinstance(last, Finished) and target.engine.result is not dict:
            found = msgspec.convert(last.result, target.engine.result)
            assert set(msgspec.to_builtins(last.result)) <= set(msgspec.to_builtins(found))


@each
def test_stopping_at_any_event_leaves_the_target_as_it_was(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "whole") as target:
        total = len(events_of(performed(case, target)[0]))
    stopped = 0
    for nth in case.few(list(range(total))):
        with case.staged(tmp_path / f"stage{nth}") as target:
            before, stop = target.state(), Stop()

            def listen(entry: Entry, stop: Stop = stop, nth: int = nth) -> None:
                if entry.seq == nth:
                    stop.ask()

            run, last = performed(case, target, listen, stop=stop)
            if isinstance(last, RunStopped):
                stopped += 1
                assert case.kept(before, target.state()) or last.left_behind
            else:
                assert isinstance(last, Finished), last
                assert run.status() in ("done", "warned")
    assert stopped > 0


@each
def test_a_finished_run_is_undone_or_says_before_that_it_cannot_be(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        before = target.state()
        run, last = performed(case, target)
        assert over(case, last), last
        plan = run.plan()
        assert plan is not None
        if not plan.undoable:
            _, refused = performed(case, target, mode="undo", earlier=run.id)
            assert isinstance(refused, RunFailed)
            assert refused.refused and refused.what_helps
            return
        assert target.state() != before or case.until or case.passes
        _, undone = performed(case, target, mode="undo", earlier=run.id)
        assert isinstance(undone, Finished), undone
        assert case.kept(before, target.state())


@asks
@pytest.mark.parametrize("word", ["", "wrong"])
def test_without_its_word_nothing_is_begun_taken_up_or_taken_back(case: Case, word: str, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        before = target.state()
        assert target.plan().confirm
        run, last = performed(case, target, confirm=word)
        assert isinstance(last, RunFailed) and last.refused
        assert target.plan().confirm in last.what_helps
        for mode in ("resume", "undo"):
            _, last = performed(case, target, confirm=word, mode=mode, earlier=run.id)
            assert isinstance(last, RunFailed) and last.refused
        assert target.state() == before
