"""Begin, follow, answer and take up runs from a command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from engines import tasks
from engines.cli.narrate import Narrator, plan_text, put, say
from engines.job import answers, detach, runs
from engines.job.contract import Engine, LastWord, Plan
from engines.job.errors import Refused
from engines.job.jobfile import Job
from engines.job.params import Params, Secret
from engines.job.perform import Stop, exit_code, outliving, perform
from engines.job.report import write_reports
from engines.job.runs import Run

USAGE = 2


def planned(engine: Engine[Any], params: Params) -> Plan:
    """The plan, with Ctrl-C as a stop that the engine sees. Raises Refused."""
    stop = Stop()
    with outliving(stop):
        plan = engine.plan(params, stop.cancel)
    for run in runs.interrupted(plan.target):
        say(f"! run {run.id} on this target was killed: crashcart resume {run.id}, or crashcart undo {run.id}")
    return plan


def confirmed(plan: Plan, word: str | None, *, as_json: bool) -> bool:
    """Show the plan and have its word typed, where it asks for one."""
    if not as_json:
        say(plan_text(plan))
    if not plan.confirm:
        return True
    if word is None and sys.stdin.isatty() and not as_json:
        try:
            word = input(f"type {plan.confirm} to go on, anything else to leave: ")
        except EOFError:
            word = None
    if word == plan.confirm:
        return True
    say(
        f"crashcart: nothing was touched; to go on, give --confirm {plan.confirm}"
        + (f" (not {word!r})" if word else "")
    )
    return False


def begin(
    engine: Engine[Any], job: Job, plan: Plan, secrets: Mapping[str, Secret], *, as_json: bool, detach: bool
) -> int:
    """Run what was just shown, here or in a session of its own."""
    run = runs.create(job, plan.target, reviewed=plan.digest)
    return _perform(run, engine, plan, secrets, as_json=as_json, apart=detach)


def _perform(
    run: Run, engine: Engine[Any], plan: Plan | None, secrets: Mapping[str, Secret], *, as_json: bool, apart: bool
) -> int:
    if apart:
        detach.start(run, secrets)
        say(f"follow it: crashcart attach {run.id}")
        put(run.id, sys.stdout)
        return 0
    narrator = Narrator(as_json=as_json, folder=run.folder, ask=True)
    stop = Stop()
    with outliving(stop):
        last = perform(run, engine, plan=plan, stop=stop, secrets=secrets, listen=narrator)
        write_reports(run)
    _where(run, as_json)
    return exit_code(last, narrator.warned)


def _where(run: Run, as_json: bool) -> None:
    if as_json:
        say(f"report: {run.report}")
    else:
        put(str(run.report if run.report.exists() else run.folder), sys.stdout)


def attach(run: Run, *, as_json: bool) -> int:
    """Follow a run to its end; Ctrl-C lets go of it and the run goes on."""
    narrator = Narrator(as_json=as_json, folder=run.folder, ask=True)
    last = None
    try:
        for entry in detach.follow(run):
            narrator(entry)
            last = entry.event
    except KeyboardInterrupt:
        say(f"the run goes on; come back: crashcart attach {run.id}")
        return 0
    _where(run, as_json)
    if isinstance(last, LastWord):
        return exit_code(last, narrator.warned)
    say(f"crashcart: run {run.id} was killed: crashcart resume {run.id}, or crashcart undo {run.id}")
    return 1


def answer(run: Run, text: str | None) -> int:
    """Answer a run's question from the command line, the terminal or stdin."""
    if text is None:
        import getpass

        text = getpass.getpass("answer: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    answers.send(run.folder, text)
    return 0


def again(run: Run, mode: str, parsed: argparse.Namespace) -> int:
    """Resume or undo a run with its stored plan."""
    info, plan, status = run.info(), run.plan(), run.status()
    if info.mode != "do":
        return again(runs.find(info.earlier), mode, parsed)
    if plan is None:
        raise Refused(f"run {run.id} never got as far as a plan", "nothing was touched; start it anew")
    if status in ("running", "asking", "starting"):
        raise Refused(f"run {run.id} is still {status}", f"follow it: crashcart attach {run.id}")
    if mode == "resume" and status in ("done", "warned"):
        raise Refused(f"run {run.id} is done", f"see its report: crashcart report {run.id}")
    engine = tasks.engine(info.task)
    if mode == "undo":
        say(f"undo of {run.id}: {plan.undo}")
    if parsed.dry_run:
        put(plan_text(plan), sys.stdout)
        return 0
    if mode == "resume" and not confirmed(plan, parsed.confirm, as_json=parsed.json):
        return USAGE
    taken_up = runs.create(run.job(), plan.target, mode=mode, earlier=run.id)
    return _perform(taken_up, engine, None, {}, as_json=parsed.json, apart=parsed.detach)
