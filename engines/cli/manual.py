"""Manual pages, written from the same declarations as the parser: crashcart(1) and one page a task."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.cli import commands
from engines.cli.parsing import EXITS, parser
from engines.job.errors import Refused
from engines.tasks import TASKS

RUNS = "Runs: $XDG_STATE_HOME/crashcart/runs, else ~/.local/state/crashcart/runs; one folder each."


def write(folder: Path, calls: commands.Calls) -> list[Path]:
    """Write every page; the paths. Raises Refused where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pages = {"crashcart": main(calls), **{f"crashcart-{name}": of_task(name, calls) for name in TASKS}}
        for name, text in pages.items():
            (folder / f"{name}.1").write_text(text)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}", "name a folder that can be written") from None
    return [folder / f"{name}.1" for name in pages]


def main(calls: commands.Calls) -> str:
    """crashcart(1)."""
    lines = [
        *_head("crashcart", "maintenance tasks for hosting technicians"),
        ".SH SYNOPSIS", ".B crashcart", ".br", ".B crashcart", r"\fITASK VERB\fR [\fIoption\fR ...]", ".br",
        ".B crashcart", r"\fICOMMAND\fR [\fIoption\fR ...]",
        ".SH DESCRIPTION", "Without arguments it opens the suite, one screen a task. Standard output is data,",
        "standard error is narration.",
        ".SH TASKS",
    ]  # fmt: skip
    for name, task in TASKS.items():
        lines += [".TP", rf"\fB{_text(name)}\fR", f"{_text(task.title)}; see", rf".BR crashcart-{name} (1)."]
    lines.append(".SH COMMANDS")
    for command in commands.COMMANDS:
        lines += [".SS", f"crashcart {command.name}", *_verb(_leaf([command.name], calls))]
    lines += [".SH EXIT STATUS", _text(EXITS.removeprefix("exit: ")) + ".", ".SH FILES", _text(RUNS)]
    pages = ", ".join(rf"\fBcrashcart\-{name}\fR(1)" for name in TASKS)
    return "\n".join([*lines, ".SH SEE ALSO", pages, ""])


def of_task(name: str, calls: commands.Calls) -> str:
    """crashcart-TASK(1): each verb with its options."""
    task = TASKS[name]
    lines = [*_head(f"crashcart-{name}", task.title), ".SH SYNOPSIS"]
    verbs = [*(look.verb for look in task.looks()), *(engine.verb for engine in task.engines())]
    lines += [line for verb in verbs for line in (rf"\fBcrashcart {name} {verb}\fR [\fIoption\fR ...]", ".br")]
    lines.append(".SH VERBS")
    for verb in verbs:
        lines += [".SS", f"crashcart {name} {verb}", *_verb(_leaf([name, verb], calls))]
    return "\n".join([*lines, ".SH SEE ALSO", r"\fBcrashcart\fR(1)", ""])


def _head(name: str, about: str) -> list[str]:
    return [f'.TH {name.upper()} 1 "" crashcart "Maintenance tasks"', ".SH NAME", f"{_text(name)} \\- {_text(about)}"]


def _leaf(words: list[str], calls: commands.Calls) -> argparse.ArgumentParser:
    """The parser of one verb or command."""
    found = parser(words, calls)
    for word in words:
        actions = found._actions  # no public way to them
        choices: Any = next(action.choices for action in actions if isinstance(action.choices, dict))
        found = choices[word]
    return found


def _verb(leaf: argparse.ArgumentParser) -> Iterator[str]:
    yield _text(f"{leaf.description}.")
    for action in leaf._actions:  # no public way to them
        if isinstance(action.choices, dict) or action.dest == "help":
            continue
        shown = str(action.metavar or "")
        names = ", ".join(rf"\fB{_text(flag)}\fR" for flag in action.option_strings)
        yield from (".TP", " ".join(part for part in (names, rf"\fI{_text(shown)}\fR" if shown else "") if part))
        yield _text((action.help or "").replace("%%", "%")) or "."
    if leaf.epilog:
        yield from (".PP", "Example:", ".PP", ".nf", _text(re.sub(r"^example:\s*", "", leaf.epilog)), ".fi")


def _text(words: str) -> str:
    """Words that roff takes as they are."""
    escaped = words.replace("\\", r"\e").replace("-", r"\-")
    escaped = escaped.replace("\u2026", "...")
    return rf"\&{escaped}" if escaped[:1] in (".", "'") else escaped
