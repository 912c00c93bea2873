"""Resuming and undoing an operation from the undo log of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from engines.guest.surgery import UNDO, finish, take_back
from engines.guest.undolog import HasRun, UndoLog
from engines.job.contract import Context, Events, Finished, Log, Plan, Progress, StepEnded, StepStarted
from engines.job.errors import Refused
from engines.job.runs import Run, find

Instead = Callable[[Run], str]


class Executes(Protocol):
    """An engine that can be started anew."""

    def execute(self, plan: Plan, context: Context) -> Events:
        """Do the plan."""
        ...


def log_of(folder: Path) -> tuple[Run, UndoLog, bool]:
    """(run, its undo log, whether an undo was under way) behind a run that may itself resume or undo another."""
    run, undoing = Run(folder), False
    while True:
        info = run.info()
        log = UndoLog(run.folder / UNDO)
        if log.prepared or not info.earlier:
            return run, log, undoing
        undoing = undoing or info.mode == "undo"
        run = find(info.earlier)


def resume(engine: Executes, plan: Plan, context: Context, instead: Instead) -> Events:
    """Finish what a kill interrupted; before the commit nothing was touched, and it is done anew."""
    assert context.earlier is not None
    run, log, undoing = log_of(context.earlier)
    if undoing:
        return undo(plan, context, instead)
    if log.undone:
        raise Refused(f"run {run.id} was taken back", "start a new one")
    return _finish(run, log) if log.prepared else engine.execute(plan, context)


def _finish(run: Run, log: UndoLog) -> Events:
    yield StepStarted(step="commit")
    if log.committed:
        yield Log(text="the image had been written whole")
    else:
        yield from _told(finish(log.folder), log.manifest().total)
    yield StepEnded(step="commit")
    yield Finished(
        summary=f"{log.manifest().target} is written whole and read back",
        then=(f"Take it back: crashcart undo {run.id}",),
    )


def undo(plan: Plan, context: Context, instead: Instead) -> Events:
    """Put the original bytes back. instead: what helps where the guest has run since."""
    assert context.earlier is not None
    run, log, _ = log_of(context.earlier)
    if log.undone:
        raise Refused(f"run {run.id} was taken back already", "the image is as it was before")
    return _undo(run, log, plan, instead)


def _undo(run: Run, log: UndoLog, plan: Plan, instead: Instead) -> Events:
    yield StepStarted(step="undo")
    if not log.prepared:
        yield Log(text="the run ended before it wrote to the image")
    else:
        try:
            yield from _told(take_back(log.folder), log.manifest().total)
        except HasRun as changed:
            raise Refused(f"{changed.why}: the guest has run since", instead(run)) from None
    yield StepEnded(step="undo")
    yield Finished(summary=f"{plan.target} is as it was before run {run.id}, bit for bit")


def _told(written: Iterator[int], total: int) -> Iterator[Progress]:
    for done in written:
        yield Progress(done=done, total=total)
