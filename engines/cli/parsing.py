"""The command's parser, made from the declarations; only the task that is named is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from engines.cli import commands
from engines.cli.usage import BadUsage, Parser, unknown
from engines.tasks import TASKS

if TYPE_CHECKING:
    from engines.job.contract import Engine, Look

EXITS = (
    "exit: 0 done, 1 failed, 2 usage, 3 refused and nothing touched, 4 done with warnings, 130 stopped;"
    " of a question with a verdict 0 yes, 5 no, 6 cannot be told"
)
GLOBAL = ("-h", "--help", "--version")


def parser(words: Sequence[str], calls: commands.Calls) -> argparse.ArgumentParser:
    """As much of the parser as the first two words need. Raises BadUsage where they name nothing."""
    first, second = (*words, "", "")[:2]
    top = Parser(
        prog="crashcart",
        description="Maintenance tasks for hosting technicians. Without arguments: the suite.",
        epilog=f"crashcart help COMMAND tells more of one.\n{EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and leave")
    named = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    if first in TASKS:
        about = TASKS[first].title
        _task(_sub(named, first, about, words), first, second, words, calls)
        return top
    if first and first not in commands.BY_NAME and first not in GLOBAL:
        if first.startswith("-"):
            raise unknown("crashcart", "option", first, GLOBAL)
        raise unknown("crashcart", "command", first, [*TASKS, *commands.BY_NAME])
    if first in commands.BY_NAME:
        command = commands.BY_NAME[first]
        commands.fill(_sub(named, first, command.words, words), command, calls[command.call])
        return top
    for name, about in (*((name, task.title) for name, task in TASKS.items()), *commands.titles()):
        _sub(named, name, about, words)  # for its line in the help
    return top


def _sub(named: Any, name: str, about: str, words: Sequence[str]) -> Parser:
    made: Parser = named.add_parser(
        name, help=about, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.words = words
    return made


def _task(task: Parser, name: str, verb: str, words: Sequence[str], calls: commands.Calls) -> None:
    """Its verbs, or the one that is wanted where there is such a one."""
    looks, engines = TASKS[name].of(verb)
    known = [*(look.verb for look in looks), *(engine.verb for engine in engines)]
    if not verb or (verb not in known and verb not in GLOBAL):
        if not verb:
            raise BadUsage(f"{task.prog} needs a verb: {', '.join(known)}", f"see: {task.prog} --help")
        if verb.startswith("-"):
            raise unknown(task.prog, "option before its verb", verb, known)
        raise unknown(task.prog, "verb", verb, known)
    named = task.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    for look in looks:
        _look(_sub(named, look.verb, look.title, words), look, calls["look"])
    for engine in engines:
        _engine(_sub(named, engine.verb, engine.title, words), engine, calls["task"])


def _look(verb: Parser, look: Look, call: Callable[[argparse.Namespace], int]) -> None:
    from engines.cli import options

    options.add(verb, look.params)
    verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
    verb.set_defaults(call=call, look=look, leaf=verb)


def _engine(verb: Parser, engine: Engine[Any], call: Callable[[argparse.Namespace], int]) -> None:
    from engines.cli import options

    options.add(verb, engine.params)
    commands.run_options(verb.add_argument_group("of every run"))
    verb.set_defaults(call=call, engine=engine, leaf=verb)
