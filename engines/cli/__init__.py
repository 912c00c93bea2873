"""The crashcart command: parse, call, print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from engines.job.errors import BadParam, Failed, Refused
from engines.tasks import TASKS

if TYPE_CHECKING:
    from engines.job.contract import Engine, Note, Plan
    from engines.job.runs import Run

Call = Callable[[argparse.Namespace], int]

FAILED = 1
USAGE = 2
REFUSED = 3


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1, 2, 3, 4 or 130 as README.md says."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        from engines.host.child import become

        become("tui")
    words = _joined(words)
    try:
        parsed = _parser(*words[:2]).parse_args(words)
        if words[0] in TASKS:
            TASKS[words[0]].sweep()
        code: int = parsed.call(parsed)
        return code
    except Refused as refused:
        from engines.cli.narrate import refuse

        refuse(refused)
        return USAGE if isinstance(refused, BadParam) else REFUSED
    except Failed as failed:
        from engines.cli.narrate import refuse

        refuse(failed)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  no traceback reaches a user; it goes to a file
        if isinstance(error, BrokenPipeError):
            return _reader_left()
        from engines.cli.narrate import crashed

        crashed(error)
        return FAILED


def _joined(words: list[str]) -> list[str]:
    """`backup key add` is the verb key-add of backup."""
    if len(words) > 2 and words[0] in TASKS and words[1] in TASKS[words[0]].groups and not words[2].startswith("-"):
        return [words[0], f"{words[1]}-{words[2]}", *words[3:]]
    return words


def _reader_left() -> int:
    """Whoever read stdout has gone: no fault. The interpreter flushes once more at exit, into nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser(first: str, second: str = "") -> argparse.ArgumentParser:
    """As much of the command as its first two words need; only the task that is named is loaded."""
    parser = argparse.ArgumentParser(
        prog="crashcart",
        description="Maintenance tasks for hosting technicians. Without arguments: the suite.",
        epilog="exit: 0 done, 1 failed, 2 usage, 3 refused and nothing touched, 4 done with warnings, 130 stopped",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    if first in TASKS:
        task = TASKS[first]
        _add_task(commands.add_parser(first, help=task.title, description=task.title), first, second)
        return parser
    for name, task in TASKS.items():
        commands.add_parser(name, help=task.title, description=task.title)
    _add_run_commands(commands)
    return parser


def _add_task(parser: argparse.ArgumentParser, name: str, wanted: str) -> None:
    """Its verbs, or the one that is wanted where there is such a one."""
    from engines.cli import options

    verbs = parser.add_subparsers(metavar="VERB", required=True)
    looks, engines = TASKS[name].of(wanted)
    for look in looks:
        verb = verbs.add_parser(look.verb, help=look.title, description=look.title)
        options.add(verb, look.params)
        verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
        verb.set_defaults(call=_look, look=look)
    for engine in engines:
        verb = verbs.add_parser(engine.verb, help=engine.title, description=engine.title)
        options.add(verb, engine.params)
        _add_run_options(verb)
        verb.set_defaults(call=_task, engine=engine)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the plan and touch nothing")
    parser.add_argument("--json", action="store_true", help="the plan as one JSON object, a run as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="say only what went wrong, as cron wants it")
    parser.add_argument("--detach", action="store_true", help="run in a session of its own and print the run's name")
    parser.add_argument("--confirm", metavar="WORD", help="the word that the plan asks for")


def _add_run_commands(commands: Any) -> None:
    def add(
        name: str, call: Callable[[argparse.Namespace], int], words: str, run: bool = True
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
        parser.set_defaults(call=call)
        if run:
            parser.add_argument("run", metavar="RUN", help="a run's name, its beginning, or 'last'")
        return parser

    job = add("run", _job, "run a job file", run=False)
    job.add_argument("job", metavar="JOB.yaml")
    _add_run_options(job)
    listed = add("runs", _runs, "list runs, newest first, or remove old ones", run=False)
    listed.add_argument("action", nargs="?", choices=("list", "prune"), default="list")
    listed.add_argument("--keep", type=_count, metavar="N", default=100, help="prune: this many newest stay (100)")
    listed.add_argument(
        "--days", type=_count, metavar="N", default=90, help="prune: those of the last N days stay (90)"
    )
    listed.add_argument("--json", action="store_true")
    add("attach", _attach, "follow a run to its end").add_argument("--json", action="store_true")
    answer = add("answer", _answer, "answer a run's question")
    answer.add_argument("text", nargs="?", help="the answer; without it, it is asked for or read from stdin")
    add("stop", _stop, "ask a run to stop")
    for name, words in (("resume", "take up a killed or stopped run"), ("undo", "take a run back")):
        parser = add(name, _again, words)
        _add_run_options(parser)
        parser.set_defaults(mode=name)
    report = add("report", _report, "print a run's report")
    report.add_argument("--format", choices=("md", "json", "html"), default="md")
    add("doctor", _doctor, "what this machine can do, and what mends it", run=False).add_argument(
        "--json", action="store_true"
    )
    rehearse = add("rehearse", _rehearse, "try tasks on targets made for it", run=False)
    rehearse.add_argument("task", nargs="*", metavar="TASK", help="which ones; without it, all")
    rehearse.add_argument("--json", action="store_true")


def _look(parsed: argparse.Namespace) -> int:
    import msgspec

    from engines.cli import options
    from engines.job.jobfile import open_secrets
    from engines.job.params import absolute, convert

    look = parsed.look
    given = open_secrets(look.params, absolute(look.params, options.given(parsed, look.params)))
    params = convert(look.params, given, task=look.verb)
    if look.stream and not parsed.json:
        _stream(look.stream(params))
        return 0
    answer = look.answer(params)
    sys.stdout.write((msgspec.json.encode(answer).decode() if parsed.json else look.table(answer)) + "\n")
    return look.code(answer) if look.code else 0


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


def _task(parsed: argparse.Namespace) -> int:
    from engines.cli import options

    return _launch(parsed, parsed.engine, options.given(parsed, parsed.engine.params))


def _job(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from engines import tasks
    from engines.job import jobfile

    job = jobfile.load(Path(parsed.job))
    return _launch(parsed, tasks.engine(job.task), job.params)


def _launch(parsed: argparse.Namespace, engine: Engine[Any], given: dict[str, Any]) -> int:
    """Plan, show, have it confirmed, run."""
    from engines.cli import launch
    from engines.job.work import Work

    work = Work.of(engine, given)
    plan = launch.planned(work)
    if parsed.dry_run:
        return _show(plan, parsed.json)
    launch.answerable(work.params, as_json=parsed.json, apart=parsed.detach)
    if not launch.confirmed(plan, parsed.confirm, as_json=parsed.json, quiet=parsed.quiet):
        return USAGE
    how = launch.How(as_json=parsed.json, apart=parsed.detach, quiet=parsed.quiet)
    return launch.perform(work.begin(plan), engine, plan, work.secrets, how)


def _show(plan: Plan, as_json: bool) -> int:
    import msgspec

    from engines.cli.narrate import plan_text

    sys.stdout.write((msgspec.json.encode(plan).decode() if as_json else plan_text(plan)) + "\n")
    return 0


def _found(parsed: argparse.Namespace) -> Run:
    from engines.job.runs import find

    return find(parsed.run)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}, allowed is a whole number from 0 on")
    return int(text)


def _tidied(as_json: bool, keep: int, days: int) -> int:
    import msgspec

    from engines.job import tidy

    found = tidy.prune(keep, days)
    stay = "".join(f", {count} {why}" for why, count in found.kept.items())
    words = f"{len(found.removed)} runs removed; {sum(found.kept.values())} stay{stay}"
    sys.stdout.write((msgspec.json.encode(found).decode() if as_json else words) + "\n")
    return 0


def _runs(parsed: argparse.Namespace) -> int:
    from engines.job import history

    if parsed.action == "prune":
        return _tidied(parsed.json, parsed.keep, parsed.days)
    sys.stdout.write(history.as_json() if parsed.json else history.table())
    return 0


def _attach(parsed: argparse.Namespace) -> int:
    from engines.cli import launch

    return launch.attach(_found(parsed), as_json=parsed.json)


def _answer(parsed: argparse.Namespace) -> int:
    from engines.cli import launch

    return launch.answer(_found(parsed), parsed.text)


def _stop(parsed: argparse.Namespace) -> int:
    from engines.cli.narrate import say
    from engines.job.detach import stop

    say(stop(_found(parsed)))
    return 0


def _again(parsed: argparse.Namespace) -> int:
    from engines.cli import launch

    return launch.again(_found(parsed), parsed.mode, parsed)


def _report(parsed: argparse.Namespace) -> int:
    from engines.job.report import as_json, gather, markdown
    from engines.job.web import page

    run = _found(parsed)
    report = gather(run)
    if parsed.format == "json":
        sys.stdout.write(as_json(report).decode())
    else:
        sys.stdout.write(page(report, run.folder) if parsed.format == "html" else markdown(report))
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from engines import doctor
    from engines.cli.narrate import say

    findings = doctor.examine(lambda name: say(f"trying {name}"))
    sys.stdout.write(doctor.as_json(findings) if parsed.json else doctor.table(findings))
    return 0 if all(finding.works for finding in findings if finding.core) else 1


def _rehearse(parsed: argparse.Namespace) -> int:
    from engines.cli import rehearse

    return rehearse.main(parsed.task, as_json=parsed.json)


if __name__ == "__main__":
    raise SystemExit(main())
