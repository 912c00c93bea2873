"""The driver: performs a run in this process and gives its journal exactly one last word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import msgspec

from engines.host.holder import me
from engines.job import lock, unfinished
from engines.job.answers import Listener
from engines.job.contract import (
    Answered,
    AnyEvent,
    Asked,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    LastWord,
    Plan,
    Progress,
    RunFailed,
    RunStopped,
    Started,
    Step,
    StepEnded,
    StepStarted,
    planned,
)
from engines.job.errors import CrashcartError, Failed, Refused, Stopped, blameless
from engines.job.journal import Entry, Journal
from engines.job.pace import Pace
from engines.job.params import Params, Secret
from engines.job.params import secrets as secrets_of
from engines.job.report import write_reports
from engines.job.runs import Info, Run, find, interrupted
from engines.job.stopping import Stop, outliving
from engines.job.word import agrees
from engines.job.work import Work, typed

__all__ = ["Stop", "exit_code", "outliving", "perform"]

Listen = Callable[[Entry], None]
Agree = str | Callable[[Plan], str]
"""The word that a plan asks for, or what is shown the plan and gives the word."""

WORK_IS_DONE = "the work is done and only its report is left"


def perform(
    run: Run,
    engine: Engine[Any],
    *,
    plan: Plan | None = None,
    stop: Stop | None = None,
    secrets: Mapping[str, Secret] | None = None,
    listen: Listen | None = None,
    confirm: Agree = "",
    answer_within: float = 1800.0,
) -> AnyEvent:
    """Perform `run` to its last word, which is returned; every event goes to the journal and then to `listen`.

    The report stands in the run's folder when this returns, unless the disk has no room for it.

    plan: the one just shown. It is made anew under the target's lock, and the run refuses where the digests
    differ, unless the engine holds the target from plan to execute (`holds`).
    confirm: the word that the plan asks for (`Plan.confirm`); without it nothing is touched, taken up or taken back.
    answer_within: seconds that a question waits for an answer before the run ends Stopped, resumable.
    """
    stop = stop or Stop()
    try:
        _keep(run, "holder.json", me(run.id))
        journal = Journal(run.journal)
    except Refused as refused:
        return RunFailed(why=refused.why, what_helps=refused.what_helps, refused=True)
    try:
        record = _Record(journal, listen)
        with Listener(run.folder / "answer.sock", answer_within) as listener:
            last = _last_word(record, run, engine, plan, stop, secrets or {}, confirm, listener)
        record.write(last)
        unfinished.clear(run.folder.parent, run.id)
        if isinstance(last, Finished):
            _made_good(run)
    finally:
        journal.close()
    write_reports(run)
    return last


def _made_good(run: Run) -> None:
    """What earlier runs of the same work were killed at is done now: nobody is told to take them up any more."""
    done = run.info()
    for killed in list(interrupted(done.target)):
        begun = killed.info()
        if begun.task == done.task and begun.born < done.born:
            unfinished.clear(run.folder.parent, killed.id)


@dataclass
class _Record:
    journal: Journal
    listen: Listen | None
    begun: bool = False

    def write(self, event: AnyEvent) -> None:
        """Journal first, then tell whoever listens: a dead screen must not cost the record."""
        self.begun = self.begun or isinstance(event, StepStarted)
        entry = self.journal.write(event)
        if self.listen:
            self.listen(entry)


def _last_word(
    record: _Record,
    run: Run,
    engine: Engine[Any],
    plan: Plan | None,
    stop: Stop,
    given: Mapping[str, Secret],
    confirm: Agree,
    listener: Listener,
) -> AnyEvent:
    try:
        info = run.info()
        params = Work.of(engine, run.job().params, given).params
        with lock.hold(engine.target(params), run.id):
            plan = _settled(info, engine, params, plan, stop.cancel)
            _keep(run, "plan.json", plan)
            earlier = find(info.earlier).folder if info.earlier else None
            _agreed(plan, confirm, info.mode)
            context = Context(cancel=stop.cancel, folder=run.folder, earlier=earlier, secrets=secrets_of(params))
            act = {"do": engine.execute, "resume": engine.resume, "undo": engine.undo}[info.mode]
            work = act(typed(engine, plan, context.secrets), context)
            steps = plan.steps if info.mode != "undo" else ()
            record.write(
                Started(
                    run=run.id,
                    task=engine.name,
                    target=plan.target,
                    steps=steps,
                    digest=plan.digest,
                    mode=info.mode,
                    earlier=info.earlier,
                )
            )
            return _drive(work, record, steps, stop, listener)
    except Stopped as stopped:
        return RunStopped(left_behind=stopped.left_behind)
    except Refused as refused:
        return RunFailed(why=refused.why, what_helps=refused.what_helps, refused=not record.begun)
    except Failed as failed:
        return RunFailed(why=failed.why, what_helps=failed.what_helps, left_behind=failed.left_behind)
    except CrashcartError as error:
        return RunFailed(why=str(error))
    except Exception as error:  # noqa: BLE001  the last word must come whatever an engine raises; the details go to a file
        known = blameless(error)
        return RunFailed(why=known.why, what_helps=known.what_helps) if known else _crash(run, error)


def _settled(info: Info, engine: Engine[Any], params: Params, shown: Plan | None, cancel: Cancel) -> Plan:
    """The plan to execute: of the earlier run, or made under the lock and no other than the one reviewed."""
    if info.mode != "do":
        stored = find(info.earlier).plan()
        if stored is None:
            raise Refused(f"run {info.earlier} never got as far as a plan", "nothing was touched; start it anew")
        return stored
    if shown is not None and engine.holds:
        return shown
    plan = planned(engine, params, cancel)
    reviewed = shown.digest if shown is not None else info.reviewed
    if reviewed and plan.digest != reviewed:
        raise Refused("the world has changed since the review", "review again: the plan is no longer the same")
    return plan


def _agreed(plan: Plan, confirm: Agree, mode: str) -> None:
    """Raise Refused unless the word is the one that the plan asks for."""
    word = confirm if isinstance(confirm, str) else confirm(plan)
    if not agrees(plan, word):
        told = f"{word!r} is not" if word else "nobody gave"
        does = {"do": "go on", "resume": "take it up", "undo": "take it back"}[mode]
        raise Refused(f"{told} the word that this plan asks for", f"to {does}, give the word {plan.confirm}")


def _keep(run: Run, name: str, what: Any) -> None:
    try:
        run.keep(name, msgspec.json.encode(what))
    except OSError as error:
        raise Refused(f"{run.folder}: {error.strerror}", "make room there, or set XDG_STATE_HOME") from None


def _drive(work: Events, record: _Record, steps: tuple[Step, ...], stop: Stop, listener: Listener) -> AnyEvent:
    """Run the generator; a stop is thrown into it, once, at its next yield even where it never polls.

    What it yields after that, while it puts things back, is recorded like anything else.
    """
    no_stop = {step.id: step.no_stop for step in steps}
    last = steps[-1].id if steps else ""
    pace = Pace(per_second=4.0)
    answer: str | None = None
    why = Stopped()
    thrown = False
    with closing(work):
        while True:
            throw, thrown = bool(stop.cancel) and not thrown, bool(stop.cancel)
            try:
                event = work.throw(why) if throw else work.send(answer)
            except StopIteration:
                raise Failed("the engine ended without a last word", "report this with the run's folder") from None
            answer = None
            if isinstance(event, LastWord):
                return event
            if not isinstance(event, Progress) or pace.due(event):
                record.write(event)
            match event:
                case StepStarted(step=step):
                    stop.enter(no_stop.get(step, ""))
                case StepEnded(step=step):
                    stop.enter(WORK_IS_DONE if step == last else "")
                case Asked():
                    try:
                        answer = listener.wait(event, stop.cancel)
                    except Stopped as unanswered:
                        why = unanswered
                        stop.cancel.set()
                    else:
                        record.write(Answered(text="" if event.secret else answer))


def _crash(run: Run, error: Exception) -> RunFailed:
    import traceback

    where = run.folder / "crash.txt"
    try:
        run.keep(where.name, "".join(traceback.format_exception(error)).encode())
    except OSError:
        where = run.folder
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    return RunFailed(why=f"unexpected: {said}", what_helps=f"this is a fault of crashcart; send {where}")


def exit_code(last: AnyEvent, warned: bool) -> int:
    """0 done, 1 failed, 3 refused and nothing touched, 4 done with warnings, 130 stopped."""
    match last:
        case Finished():
            return 4 if warned else 0
        case RunStopped():
            return 130
        case RunFailed(refused=True):
            return 3
        case _:
            return 1
