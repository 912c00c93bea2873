"""The commands that are about runs and this machine: their words and options, declared for parser, pages and Tab."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

JSON = ("--json", {"action": "store_true", "help": "one JSON object or array on stdout"})
RUN = ("run", {"metavar": "RUN", "help": "a run's name, its beginning, or 'last'"})
RUN_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--dry-run", {"action": "store_true", "help": "show the plan and touch nothing"}),
    ("--json", {"action": "store_true", "help": "the plan as one JSON object, a run as JSON lines"}),
    ("--quiet", {"action": "store_true", "help": "say only what went wrong, as cron wants it"}),
    ("--detach", {"action": "store_true", "help": "run in a session of its own and print the run's name"}),
    ("--confirm", {"metavar": "WORD", "help": "the word that the plan asks for"}),
)
ONCE = ("--once", {"metavar": "KEY", "help": "only if no run of this key is done; one that runs is followed"})
SHELLS = ("bash", "zsh", "fish")


class Command(NamedTuple):
    """One command. `call` names the function of engines.cli.acts; `more` are verbs under it."""

    name: str
    words: str
    call: str
    options: tuple[tuple[str, dict[str, Any]], ...] = ()
    example: str = ""
    fixed: Mapping[str, Any] = MappingProxyType({})


COMMANDS = (
    Command(
        "run",
        "run a job file",
        "job",
        (
            ("job", {"metavar": "JOB.yaml"}),
            *RUN_OPTIONS,
            ONCE,
            ("--run-commands", {"action": "store_true", "help": "agree to the commands that the job names"}),
        ),
        "job.yaml --dry-run",
    ),
    Command(
        "runs",
        "list runs, newest first, or remove old ones",
        "runs",
        (
            ("action", {"nargs": "?", "metavar": "prune", "choices": ("list", "prune"), "default": "list"}),
            ("--keep", {"type": int, "metavar": "N", "default": 100, "help": "prune: this many newest stay (100)"}),
            (
                "--days",
                {"type": int, "metavar": "N", "default": 90, "help": "prune: those of the last N days stay (90)"},
            ),
            ("--dry-run", {"action": "store_true", "help": "prune: name what would go, and touch nothing"}),
            JSON,
        ),
        "prune --keep 100 --days 90 --dry-run",
    ),
    Command("attach", "follow a run to its end", "attach", (RUN, JSON), "last"),
    Command(
        "answer",
        "answer a run's question",
        "answer",
        (RUN, ("text", {"nargs": "?", "help": "the answer; without it, it is asked for or read from stdin"})),
        "last yes",
    ),
    Command("stop", "ask a run to stop", "stop", (RUN,), "last"),
    Command(
        "resume", "take up a killed or stopped run", "again", (RUN, *RUN_OPTIONS), "last", fixed={"mode": "resume"}
    ),
    Command("undo", "take a run back", "again", (RUN, *RUN_OPTIONS), "last --dry-run", fixed={"mode": "undo"}),
    Command(
        "report",
        "print a run's report",
        "report",
        (RUN, ("--format", {"choices": ("md", "json", "html"), "default": "md", "help": "md is Markdown"})),
        "last --format html",
    ),
    Command(
        "doctor",
        "what this machine can do, and what mends it; or what a repository's place lacks",
        "doctor",
        (("repo", {"nargs": "?", "metavar": "REPO", "help": "look at this place instead of this machine"}), JSON),
        "sftp://backup@far/srv/repo",
    ),
    Command(
        "rehearse",
        "try tasks on targets made for it",
        "rehearse",
        (("task", {"nargs": "*", "metavar": "TASK", "help": "which ones; without it, all"}), JSON),
        "biosiso",
    ),
    Command(
        "completion",
        "print what makes a shell complete crashcart with Tab",
        "completion",
        (("shell", {"choices": SHELLS, "metavar": "{" + ",".join(SHELLS) + "}", "help": "which shell"}),),
        "bash > /etc/bash_completion.d/crashcart",
    ),
    Command(
        "man",
        "write the manual pages into a folder",
        "man",
        (("folder", {"metavar": "FOLDER", "help": "where they go; it is made where it is not there"}),),
        "/usr/local/share/man/man1",
    ),
    Command("fleet-agent", "answer a fleet's controller: the forced command of its ssh key on a hypervisor", "agent"),
    Command("help", "the help of a command", "help", (("of", {"nargs": "*", "metavar": "COMMAND"}),), "backup restore"),
)
BY_NAME = {command.name: command for command in COMMANDS}


def titles() -> Iterator[tuple[str, str]]:
    """Each command with its words."""
    return ((command.name, command.words) for command in COMMANDS)


Calls = dict[str, Callable[[argparse.Namespace], int]]


def fill(parser: argparse.ArgumentParser, command: Command, call: Callable[[argparse.Namespace], int]) -> None:
    """Give `parser` the options of a command."""
    for name, how in command.options:
        parser.add_argument(name, **how)
    parser.set_defaults(call=call, leaf=parser, **command.fixed)
    parser.epilog = f"example:\n  crashcart {command.name} {command.example}".rstrip()


def run_options(parser: Any) -> None:
    """The options of everything that is a run."""
    for name, how in (*RUN_OPTIONS, ONCE):
        parser.add_argument(name, **how)
