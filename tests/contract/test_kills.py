"""What DESIGN promises of a run that is killed: it is found, and then finished or taken back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from engines.job import detach, runs
from engines.job.contract import (
    AnyEvent,
    Finished,
    Plan,
    Progress,
    RunFailed,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused
from engines.job.journal import Entry
from engines.job.work import what_follows
from tests.contract.performing import each, events_of, over, performed
from tests.contract.target import Case, Target


def killed_at(moment: AnyEvent, case: Case, target: Target) -> runs.Run:
    """A run whose process is gone by SIGKILL once that event is on disk, before what follows it."""
    plan = target.plan()
    if case.apart:
        return killed_apart(moment, target, plan)
    started = {run.id for run in runs.every()}
    child = os.fork()
    if child == 0:

        def listen(entry: Entry) -> None:
            if entry.event == moment or (isinstance(entry.event, Progress) and isinstance(moment, Progress)):
                os.kill(os.getpid(), signal.SIGKILL)

        performed(case, target, listen)
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    new = [run for run in runs.every() if run.id not in started]  # a fleet's run begins others
    (run,) = (run for run in new if run.info().target == plan.target)
    return run


def killed_apart(moment: AnyEvent, target: Target, plan: Plan) -> runs.Run:
    run = target.work.begin(plan)
    detach.start(run, target.secrets, plan.confirm)
    for entry in detach.follow(run):
        if entry.event == moment:
            holder = run.holder()
            assert holder is not None
            os.kill(holder.pid, signal.SIGKILL)
            while holder.alive():
                time.sleep(0.01)
            break
    assert run.status() == "interrupted", events_of(run)[-1]
    return run


@each
@pytest.mark.parametrize("mode", ["resume", "undo"])
def test_a_run_killed_at_any_step_is_found_and_then_finished_or_taken_back(
    case: Case, mode: str, tmp_path: Path
) -> None:
    with case.staged(tmp_path / "whole") as target:
        whole, _ = performed(case, target)
        irreversible = bool(target.engine.irreversible)
    kinds = StepStarted if case.until or case.apart else StepStarted | StepEnded  # a clock meets no end of a step
    moments: list[AnyEvent] = [event for event in events_of(whole) if isinstance(event, kinds)]
    if not case.moments:
        moments += [event for event in events_of(whole) if isinstance(event, Progress)][:1]
    for nth, moment in enumerate(case.few(moments)):
        with case.staged(tmp_path / f"at{nth}") as target:
            before = target.state()
            run = killed_at(moment, case, target)
            assert run.status() == "interrupted"
            assert run.id in [found.id for found in runs.interrupted(run.info().target)]
            if mode == "undo" and irreversible:
                with pytest.raises(Refused) as refused:
                    what_follows(run, mode)
                assert refused.value.what_helps
                continue
            _, last = performed(case, target, mode=mode, earlier=run.id)
            if mode == "resume":
                assert over(case, last), (moment, last)
            else:
                assert isinstance(last, Finished) or (isinstance(last, RunFailed) and last.what_helps), (moment, last)
                assert case.kept(before, target.state())
            assert run.id not in [found.id for found in runs.interrupted()]
