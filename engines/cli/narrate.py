"""What a terminal is told of plans and runs: narration on stderr, data on stdout, a dead line never in the way."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

from engines.host.files import write_whole
from engines.job import answers, runs
from engines.job.contract import (
    Answered,
    AnyEvent,
    Asked,
    Finished,
    Log,
    Progress,
    RunFailed,
    RunStopped,
    Started,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Refused
from engines.job.journal import Entry, encode
from engines.job.units import amount, one_line


def put(text: str, stream: TextIO) -> None:
    """Write a line; a reader that went away does not matter to the run."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):
        return


def say(text: str) -> None:
    """A line of narration."""
    put(text, sys.stderr)


def refuse(error: Refused | Failed) -> None:
    """Why not, and what helps."""
    say(f"crashcart: {one_line(error.why)}")
    for line in error.lines if isinstance(error, Refused) else ():
        say(f"  {one_line(line)}")
    if error.what_helps:
        say(f"  what helps: {one_line(error.what_helps)}")


def crashed(error: Exception) -> None:
    """A fault of our own, in one line; its traceback goes to a file."""
    import traceback

    say(f"crashcart: unexpected: {one_line(f'{type(error).__name__}: {error}')}")
    try:
        where = runs.home().parent / "crash.txt"
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(where, "".join(traceback.format_exception(error)).encode())
    except (OSError, Refused):
        say("  what helps: this is a fault of crashcart; send this line and the command")
    else:
        say(f"  what helps: this is a fault of crashcart; send {where}")


class Narrator:
    """Tells a run's events as they come: JSON lines on stdout, or words on stderr; only what went wrong if `quiet`."""

    def __init__(self, *, as_json: bool, ask: bool, quiet: bool = False) -> None:
        self._quiet = quiet
        self._json = as_json
        self._run = ""
        self._ask = ask and not as_json and sys.stdin.isatty()
        self._titles: dict[str, str] = {}
        self._bar = sys.stderr.isatty()
        self._last_bar = 0.0
        self.warned = False

    def __call__(self, entry: Entry) -> None:
        """Tell one event."""
        self.warned = self.warned or isinstance(entry.event, Warned)
        if isinstance(entry.event, Started):
            self._run = entry.event.run
        if self._json:
            put(encode(entry).decode().rstrip("\n"), sys.stdout)
        elif not self._quiet or isinstance(entry.event, Warned | Asked | RunFailed | RunStopped):
            self._tell(entry.event)
        if self._ask and isinstance(entry.event, Asked):
            threading.Thread(target=self._answer, args=(entry.event,), daemon=True).start()

    def _tell(self, event: AnyEvent) -> None:
        match event:
            case Started():
                self._titles = {
                    step.id: f"[{at}/{len(event.steps)}] {step.title}" for at, step in enumerate(event.steps, 1)
                }
            case StepStarted():
                say(self._titles.get(event.step, event.step))
            case Progress():
                self._progress(event)
            case Log():
                say(f"      {one_line(event.text)}")
            case Warned():
                say(f"    ! {one_line(event.text)}")
            case Asked():
                say(f"    ? {one_line(event.question)} {'/'.join(event.choices)}".rstrip())
                if not self._ask:
                    say(f"      no terminal to ask on; answer from another: crashcart answer {self._run}")
            case Answered():
                say(f"      answered: {one_line(event.text) or '(not shown)'}")
            case Finished() | RunStopped() | RunFailed():
                say(last_words(event))

    def _progress(self, event: Progress) -> None:
        if not self._bar or (event.done < event.total and time.monotonic() - self._last_bar < 0.5):
            return
        self._last_bar = time.monotonic()
        share = 100 * event.done // event.total if event.total else 100
        end = "\n" if event.done >= event.total else "\r"
        try:
            sys.stderr.write(f"      {share:3d}%  {amount(event.done, event.total, event.unit)}   {end}")
            sys.stderr.flush()
        except (OSError, ValueError):
            self._bar = False

    def _answer(self, question: Asked) -> None:
        import getpass

        try:
            text = getpass.getpass("    > ") if question.secret else input("    > ")
            answers.send(runs.home() / self._run, text)
        except (EOFError, OSError):
            return
        except Refused as refused:
            refuse(refused)
            self._answer(question)


def last_words(event: AnyEvent) -> str:
    """The outcome in lines for people."""
    match event:
        case Finished():
            lines = [event.summary, *(f"  {at}. {one_line(then)}" for at, then in enumerate(event.then, 1))]
        case RunFailed():
            lines = [("refused, nothing was touched: " if event.refused else "FAILED: ") + one_line(event.why)]
            lines += [f"  what helps: {one_line(event.what_helps)}"] if event.what_helps else []
            lines += [f"  left behind: {one_line(item)}" for item in event.left_behind]
        case RunStopped():
            lines = ["stopped", *(f"  left behind: {one_line(item)}" for item in event.left_behind)]
        case _:
            lines = [type(event).__name__]
    return "\n".join(lines)
