"""What each command does: look, launch, follow, print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engines.cli.commands import Calls
from engines.cli.usage import missing

if TYPE_CHECKING:
    from engines.job.contract import Engine, Note
    from engines.job.runs import Run


def look(parsed: argparse.Namespace) -> int:
    """Answer a question; its exit code is the verdict's, where it has one."""
    import msgspec

    from engines.cli import options
    from engines.job.jobfile import open_secrets
    from engines.job.params import absolute, convert

    asked = parsed.look
    found = options.given(parsed, asked.params)
    _complete(parsed, asked.params, found)
    given = open_secrets(asked.params, absolute(asked.params, found))
    params = convert(asked.params, given, task=asked.verb)
    if asked.stream and not parsed.json:
        _stream(asked.stream(params))
        return 0
    answer = asked.answer(params)
    sys.stdout.write((msgspec.json.encode(answer).decode() if parsed.json else asked.table(answer)) + "\n")
    return asked.code(answer) if asked.code else 0


def _complete(parsed: argparse.Namespace, cls: Any, found: dict[str, Any]) -> None:
    """Raise BadUsage naming everything that is needed and was not given."""
    from engines.cli import options

    if lacking := options.lacking(cls, found):
        raise missing(parsed.leaf.prog, lacking)


def _stream(pieces: Iterator[str | bytes | Note]) -> None:
    """An answer as it comes: text as lines, bytes as they are, notes on stderr."""
    from engines.cli.narrate import say

    for piece in pieces:
        if isinstance(piece, bytes):
            sys.stdout.buffer.write(piece)
        elif isinstance(piece, str):
            sys.stdout.write(piece + "\n")
        else:
            sys.stdout.flush()
            say(piece.text)
    sys.stdout.flush()


def task(parsed: argparse.Namespace) -> int:
    """Plan a verb and run it."""
    from engines.cli import options

    given = options.given(parsed, parsed.engine.params)
    _complete(parsed, parsed.engine.params, given)
    return _launch(parsed, parsed.engine, given)


def job(parsed: argparse.Namespace) -> int:
    """Plan a job file and run it."""
    from pathlib import Path

    from engines import tasks
    from engines.cli import launch
    from engines.job import jobfile

    loaded = jobfile.load(Path(parsed.job))
    engine = tasks.engine(loaded.task)
    launch.agreed_to_commands(engine.params, loaded.params, given=parsed.run_commands, as_json=parsed.json)
    return _launch(parsed, engine, loaded.params)


def _launch(parsed: argparse.Namespace, engine: Engine[Any], given: dict[str, Any]) -> int:
    """Plan, show, have it confirmed, run."""
    from engines.cli import launch
    from engines.job.work import Work

    work = Work.of(engine, given)
    how = launch.How(as_json=parsed.json, apart=parsed.detach, quiet=parsed.quiet)
    if parsed.once is not None and not parsed.dry_run:
        return launch.once(parsed.once, work, parsed.confirm, how)
    plan = launch.planned(work)
    if parsed.dry_run:
        return launch.show(plan, as_json=parsed.json)
    return launch.reviewed(work, plan, parsed.confirm, how)


def _found(parsed: argparse.Namespace) -> Run:
    from engines.job.runs import find

    return find(parsed.run)


def runs(parsed: argparse.Namespace) -> int:
    """List the runs, or remove old ones."""
    from engines.job import history

    if parsed.action == "prune":
        return _tidied(parsed)
    sys.stdout.write(history.as_json() if parsed.json else history.table())
    return 0


def _tidied(parsed: argparse.Namespace) -> int:
    import msgspec

    from engines.job import tidy
    from engines.job.errors import BadParam

    for name in ("keep", "days"):
        if getattr(parsed, name) < 0:
            raise BadParam(name, getattr(parsed, name), "a whole number from 0 on")
    found = tidy.prune(parsed.keep, parsed.days, dry_run=parsed.dry_run)
    stay = "".join(f", {count} {why}" for why, count in found.kept.items())
    named = "".join(f"{name}\n" for name in found.removed) if parsed.dry_run else ""
    goes = "would be removed" if parsed.dry_run else "removed"
    words = f"{named}{len(found.removed)} runs {goes}; {sum(found.kept.values())} stay{stay}"
    sys.stdout.write((msgspec.json.encode(found).decode() if parsed.json else words) + "\n")
    return 0


def attach(parsed: argparse.Namespace) -> int:
    """Follow a run."""
    from engines.cli import launch

    return launch.attach(_found(parsed), as_json=parsed.json)


def answer(parsed: argparse.Namespace) -> int:
    """Answer a run's question."""
    from engines.cli import launch

    return launch.answer(_found(parsed), parsed.text)


def stop(parsed: argparse.Namespace) -> int:
    """Ask a run to stop."""
    from engines.cli.narrate import say
    from engines.job.detach import stop

    say(stop(_found(parsed)))
    return 0


def again(parsed: argparse.Namespace) -> int:
    """Resume or undo."""
    from engines.cli import launch

    return launch.again(_found(parsed), parsed.mode, parsed)


def report(parsed: argparse.Namespace) -> int:
    """Print a report."""
    from engines.job.report import as_json, gather, markdown
    from engines.job.web import page

    run = _found(parsed)
    gathered = gather(run)
    if parsed.format == "json":
        sys.stdout.write(as_json(gathered).decode())
    else:
        sys.stdout.write(page(gathered, run.folder) if parsed.format == "html" else markdown(gathered))
    return 0


def doctor(parsed: argparse.Namespace) -> int:
    """Try what this machine can do."""
    from engines import doctor
    from engines.cli.narrate import say

    findings = doctor.examine_place(parsed.repo) if parsed.repo else doctor.examine(lambda name: say(f"trying {name}"))
    sys.stdout.write(doctor.as_json(findings) if parsed.json else doctor.table(findings))
    return 0 if all(finding.works for finding in findings if finding.core) else 1


def rehearse(parsed: argparse.Namespace) -> int:
    """Try tasks on targets made for it."""
    from engines.cli import rehearse

    return rehearse.main(parsed.task, as_json=parsed.json)


def completion(parsed: argparse.Namespace) -> int:
    """Print a shell's completion."""
    from engines.cli import completion

    sys.stdout.write(completion.script(parsed.shell))
    return 0


def man(parsed: argparse.Namespace) -> int:
    """Write the manual pages."""
    from pathlib import Path

    from engines.cli import manual

    for path in manual.write(Path(parsed.folder), CALLS):
        sys.stdout.write(f"{path}\n")
    return 0


def agent(_: argparse.Namespace) -> int:
    """Answer one request of a controller."""
    from engines.fleet.agent.answering import main

    return main()


CALLS: Calls = {
    "look": look,
    "task": task,
    "job": job,
    "runs": runs,
    "attach": attach,
    "answer": answer,
    "stop": stop,
    "again": again,
    "report": report,
    "doctor": doctor,
    "rehearse": rehearse,
    "completion": completion,
    "man": man,
    "agent": agent,
    "help": man,  # never called: `help` is answered before anything is parsed
}
RUNS = (task, job, attach, answer, stop, again, rehearse, agent)  # they do something, whoever hears of it
