"""The driver: performs a run in this process and gives its journal exactly one last word."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import msgspec

from engines.job import lock
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
)
from engines.job.errors import CrashcartError, Failed, Refused, Stopped
from engines.job.holder import me
from engines.job.jobfile import open_secrets
from engines.job.journal import Entry, Journal
from engines.job.pace import Pace
from engines.job.params import Params, Secret, convert
from engines.job.params import secrets as secrets_of
from engines.job.runs import Info, Run, find

Listen = Callable[[Entry], None]

WORK_IS_DONE = "the work is done and only its report is left"


@dataclass
class Stop:
    """A stop request that waits while a step cannot be stopped."""

    cancel: Cancel = field(default_factory=Cancel)
    wanted: bool = False
    held_by: str = ""

    def ask(self) -> None:
        """Ask for a stop: now where the step allows it, else once it has ended."""
        self.wanted = True
        if not self.held_by:
            self.cancel.set()

    def enter(self, no_stop: str) -> None:
        """A step begins that, where `no_stop` is not empty, cannot be stopped."""
        self.held_by = no_stop
        if self.wanted and not no_stop:
            self.cancel.set()


def perform(
    run: Run,
    engine: Engine[Any],
    *,
    plan: Plan | None = None,
    stop: Stop | None = None,
    secrets: Mapping[str, Secret] | None = None,
    listen: Listen | None = None,
    answer_within: float = 1800.0,
) -> AnyEvent:
    """Perform `run` to its last word, which is returned; every event goes to the journal and then to `listen`.

    plan: the one just shown. It is made anew under the target's lock, and the run refuses where the digests
    differ, unless the engine holds the target from plan to execute (`holds`).
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
            last = _last_word(record, run, engine, plan, stop, secrets or {}, listener)
        record.write(last)
        return last
    finally:
        journal.close()


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
    listener: Listener,
) -> AnyEvent:
    try:
        info = run.info()
        opened = open_secrets(engine.params, run.job().params) | dict(given)
        params = convert(engine.params, opened, task=engine.name)
        with lock.hold(engine.target(params), run.id):
            plan = _settled(info, engine, params, plan, stop.cancel)
            _keep(run, "plan.json", plan)
            earlier = find(info.earlier).folder if info.earlier else None
            context = Context(cancel=stop.cancel, folder=run.folder, earlier=earlier, secrets=secrets_of(params))
            work = {"do": engine.execute, "resume": engine.resume, "undo": engine.undo}[info.mode](plan, context)
            steps = plan.steps if info.mode != "undo" else ()
            record.write(
                Started(
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
        return _crash(run, error)


def _settled(info: Info, engine: Engine[Any], params: Params, shown: Plan | None, cancel: Cancel) -> Plan:
    """The plan to execute: of the earlier run, or made under the lock and no other than the one reviewed."""
    if info.mode != "do":
        stored = find(info.earlier).plan()
        if stored is None:
            raise Refused(f"run {info.earlier} never got as far as a plan", "nothing was touched; start it anew")
        return stored
    if shown is not None and getattr(engine, "holds", False):
        return shown
    plan = engine.plan(params, cancel)
    reviewed = shown.digest if shown is not None else info.reviewed
    if reviewed and plan.digest != reviewed:
        raise Refused("the world has changed since the review", "review again: the plan is no longer the same")
    return plan


def _keep(run: Run, name: str, what: Any) -> None:
    try:
        run.keep(name, msgspec.json.encode(what))
    except OSError as error:
        raise Refused(f"{run.folder}: {error.strerror}", "make room there, or set XDG_STATE_HOME") from None


def _drive(work: Events, record: _Record, steps: tuple[Step, ...], stop: Stop, listener: Listener) -> AnyEvent:
    """Run the generator; a stop is thrown into it at its next yield even where it never polls."""
    no_stop = {step.id: step.no_stop for step in steps}
    last = steps[-1].id if steps else ""
    pace = Pace(per_second=4.0)
    answer: str | None = None
    with closing(work):
        while True:
            try:
                event = work.throw(Stopped()) if stop.cancel else work.send(answer)
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
                    answer = listener.wait(event, stop.cancel)
                    record.write(Answered(text="" if event.secret else answer))


def _crash(run: Run, error: Exception) -> RunFailed:
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


@contextmanager
def outliving(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM ask for a stop; SIGHUP and SIGPIPE, a lost line, do not touch the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.ask()

    handlers: dict[int, Any] = {signal.SIGINT: asked, signal.SIGTERM: asked}
    handlers |= {signal.SIGHUP: signal.SIG_IGN, signal.SIGPIPE: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
