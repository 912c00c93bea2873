"""Begin, follow, answer and take up runs from a command line."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from engines import tasks
from engines.cli.narrate import Narrator, put, say
from engines.cli.usage import BadUsage
from engines.job import answers, detach, journal, runs
from engines.job import once as keys
from engines.job import perform as performing
from engines.job.contract import Asked, Engine, LastWord, Plan, StepStarted
from engines.job.errors import BadParam, Refused
from engines.job.params import Params, Secret, commands
from engines.job.perform import Stop, exit_code, outliving
from engines.job.runs import Run
from engines.job.telling import plan_lines
from engines.job.undoing import way_back
from engines.job.word import agrees
from engines.job.work import Work, follow_up, what_follows


def planned(work: Work[Any]) -> Plan:
    """The plan, with Ctrl-C as a stop that the engine sees. Raises Refused."""
    stop = Stop()
    with outliving(stop):
        plan = work.plan(stop.cancel)
    for run in runs.interrupted(plan.target):
        say(f"! run {run.id} on this target was killed: {taken_up(run)}")
    return plan


def taken_up(run: Run) -> str:
    """The commands that follow up a killed run, as far as it can be."""
    plan = run.plan()
    undo = f", or crashcart undo {run.id}" if plan is None or plan.undoable else ""
    return f"crashcart resume {run.id}{undo}"


@dataclass(frozen=True)
class How:
    """How a run is told: JSON lines, a session of its own (`apart`), or only what went wrong (`quiet`)."""

    as_json: bool = False
    apart: bool = False
    quiet: bool = False


def answerable(params: Params, *, as_json: bool, apart: bool) -> None:
    """Raise BadParam where the run will ask for a secret and nobody is there to answer."""
    if apart or (sys.stdin.isatty() and not as_json):
        return
    for name in params.asks():
        flag = f"--{name.replace('_', '-')}-file"
        raise BadParam(name, "", f"one, since there is no terminal to ask on: {flag} FILE", f"give {flag} FILE")


def agreed_to_commands(cls: type[Params], params: Mapping[str, Any], *, given: bool, as_json: bool) -> None:
    """Have the technician agree to what a job file runs on this machine, before its plan is made: that runs it, too.

    given: agreed to on the command line. Raises BadUsage.
    """
    found = commands(cls, params)
    for name, command in found.items():
        say(f"this job runs, as user {os.geteuid()}, {name}: {command}")
    if not found or given:
        return
    if sys.stdin.isatty() and not as_json:
        with suppress(EOFError):
            if input("type yes to let it, anything else to leave: ").strip().lower() == "yes":
                return
    raise BadUsage("nothing was run", "read the job; to let it run that, give --run-commands")


def show(plan: Plan, *, as_json: bool) -> int:
    """A plan on stdout, and nothing else."""
    put(msgspec.json.encode(plan).decode() if as_json else "\n".join(plan_lines(plan)), sys.stdout)
    return 0


def confirmed(plan: Plan, word: str | None, *, as_json: bool, quiet: bool = False) -> None:
    """Show the plan and have its word typed, where it asks for one. Raises BadUsage."""
    if not as_json and not (quiet and agrees(plan, word)):
        say("\n".join(plan_lines(plan)))
    if not plan.confirm:
        return
    if word is None and sys.stdin.isatty() and not as_json:
        try:
            word = input(f"type {plan.confirm} to go on, anything else to leave: ")
        except EOFError:
            word = None
    if not agrees(plan, word):
        given = f" (not {word!r})" if word else ""
        raise BadUsage("nothing was touched", f"to go on, give --confirm {shlex.quote(plan.confirm)}{given}")


def once(key: str, work: Work[Any], word: str | None, how: How) -> int:
    """Perform it unless a run of `key` is done, whose result is told, or runs, which is followed; the exit code."""
    found = keys.settle(key)
    if isinstance(found, keys.Claim):
        with found:
            return reviewed(work, planned(work), word, how, found)
    say(f"{key} has its run: {found.id}")
    if how.apart:
        put(found.id, sys.stdout)
        return 0
    return attach(found, as_json=how.as_json)


def reviewed(work: Work[Any], plan: Plan, word: str | None, how: How, claim: keys.Claim | None = None) -> int:
    """Have the plan's word given, begin and perform; the exit code."""
    answerable(work.params, as_json=how.as_json, apart=how.apart)
    confirmed(plan, word, as_json=how.as_json, quiet=how.quiet)
    run = work.begin(plan)
    if claim:
        claim.begin(run)
    return perform(run, work.engine, plan, work.secrets, how, claim)


def perform(
    run: Run,
    engine: Engine[Any],
    plan: Plan,
    secrets: Mapping[str, Secret],
    how: How,
    claim: keys.Claim | None = None,
) -> int:
    """Perform a run whose plan was shown and its word given, here or in a session of its own; the exit code.

    claim: what a run in a session of its own is to hold on to.
    """
    if how.apart and plan.target == "-":
        raise BadParam("detach", True, "a run in the foreground, whose standard output is somebody's")
    if how.apart:
        detach.start(run, secrets, plan.confirm, [claim.descriptor] if claim else [])
        say(f"follow it: crashcart attach {run.id}")
        put(run.id, sys.stdout)
        return _there(run, engine.serves)
    piped = plan.target == "-"  # standard output is the run's own
    narrator = Narrator(as_json=how.as_json and not piped, ask=True, quiet=how.quiet)
    stop = Stop()
    with outliving(stop):
        last = performing.perform(
            run, engine, plan=plan, stop=stop, secrets=secrets, listen=narrator, confirm=plan.confirm
        )
    code = exit_code(last, narrator.warned)
    if code or not how.quiet:
        _where(run, how.as_json or piped)
    return code


def _there(run: Run, step: str) -> int:
    """Wait until what a run in a session of its own serves is there: its `step` has begun; the exit code."""
    for entry in detach.follow(run) if step else ():
        if isinstance(entry.event, Asked) or (isinstance(entry.event, StepStarted) and entry.event.step == step):
            return 0
        if isinstance(entry.event, LastWord):
            say(f"it ended already: crashcart attach {run.id}")
            return exit_code(entry.event, warned=False)
    return 0


def _where(run: Run, as_json: bool) -> None:
    if as_json:
        say(f"report: {run.report}")
    else:
        put(str(run.report if run.report.exists() else run.folder), sys.stdout)


def attach(run: Run, *, as_json: bool) -> int:
    """Follow a run to its end; Ctrl-C lets go of it and the run goes on."""
    narrator = Narrator(as_json=as_json, ask=True)
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
    say(f"crashcart: run {run.id} was killed: {taken_up(run)}")
    return 1


def answer(run: Run, text: str | None) -> int:
    """Answer a run's question from the command line, the terminal or stdin. Raises Refused for a secret in argv."""
    asked = [entry.event for entry in journal.entries(run.journal)][-1:]
    if text is not None and asked and isinstance(asked[0], Asked) and asked[0].secret:
        helps = f"change it if others work here; then give it no words: crashcart answer {run.id}"
        raise Refused("a secret on a command line is seen by every user of this machine", helps)
    if text is None:
        import getpass

        text = getpass.getpass("answer: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    answers.send(run.folder, text)
    return 0


def again(run: Run, mode: str, parsed: argparse.Namespace) -> int:
    """Resume or undo a run with its stored plan."""
    origin, plan = what_follows(run, mode)
    engine = tasks.engine(plan.task)
    shown = way_back(plan) if mode == "undo" else plan
    if parsed.dry_run:
        return show(shown, as_json=parsed.json)
    confirmed(shown, parsed.confirm, as_json=parsed.json, quiet=parsed.quiet)
    begun, _ = follow_up(origin, mode)
    return perform(begun, engine, plan, {}, How(as_json=parsed.json, apart=parsed.detach, quiet=parsed.quiet))
