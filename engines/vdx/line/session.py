"""A logged-in command line: one command, its whole answer, and no question answered that the caller did not arm."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from engines.vdx.line.patterns import Patterns, Wordings, fits
from engines.vdx.line.screen import without_noise
from engines.vdx.line.terminal import Ended, Silent, Terminal
from engines.vdx.line.transcript import Transcript

ANY_PROMPT = re.compile(r"(?P<host>[\w][\w.+:/\[\]@>-]*)(?P<context>(?:\([^()\n]+\)){0,3})[>#] ?")
DESCRIBES = re.compile(r"description\b", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
QUICK = 0.005  # s of quiet after a prompt; the echo of the next command proves that it was one
SURE = 0.03  # s of quiet after a prompt that ends a configuration
ASKED = 0.06  # s of quiet after a question that is expected
UNKNOWN = 2.5  # s that a line which may be a question of another form must stand at the end, unfinished
UNFINISHED = 15.0  # s that any other unfinished line must stand, where a question is expected
QUESTION = re.compile(r"[?:\])>]\s*$")
ASKING = 0.5  # s of quiet after what looks like one where none is: such text may stand in a configuration


class SessionLost(Exception):
    """The session ended or fell out of step where it must not; `said` is the last it said.

    silent: it is still there and says nothing more, with `said` perhaps standing at the end of a line.
    """

    def __init__(self, why: str, said: str = "", *, silent: bool = False) -> None:
        words = " ".join(said.split())[-200:]
        super().__init__(f"{why}; its last words: {words!r}" if words else why)
        self.said = said
        self.silent = silent


class Unexpected(Exception):
    """The switch asked something nobody armed. `question` is its own words; `answered` what it was given."""

    def __init__(self, question: str, answered: str = "no") -> None:
        super().__init__(question)
        self.question = question
        self.answered = answered


@dataclass(frozen=True)
class Armed:
    """Leave to answer yes to a question that says one of `words`; `before` is called with it first.

    unfinished: s after which a line that stands there unfinished is a question of a form that is not known.
    """

    words: Wordings
    before: Callable[[str], None]
    unfinished: float = UNFINISHED


@dataclass(frozen=True)
class Answer:
    """What a command said, the questions it was agreed to, and whether the line ended with it."""

    text: str
    questions: tuple[str, ...] = ()
    ended: bool = False


@dataclass(frozen=True)
class _Heard:
    text: str
    question: str = ""
    yes: str = ""  # empty for a question whose form is not known


def standing(judge: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """`judge`, and "asks" with the text where what may be a question has stood at its end for UNKNOWN seconds."""
    since: dict[str, float] = {}

    def judged(text: str) -> str | None:
        found, last = judge(text), text.rsplit("\n", 1)[-1].strip()
        if found is not None or not QUESTION.search(last) or ANY_PROMPT.fullmatch(last):
            return found
        stood = time.monotonic() - since.setdefault(text, time.monotonic())
        return f"asks {text}" if stood >= UNKNOWN else None

    return judged


class Session:
    """A command line with a learnt host name. `way` is ssh or console; `weak` the old algorithms it was let use."""

    def __init__(self, terminal: Terminal, transcript: Transcript | None, patterns: Patterns, way: str) -> None:
        self.terminal = terminal
        self.transcript = transcript
        self.patterns = patterns
        self.way = way
        self.hostname = ""
        self.context = ""
        self.weak: tuple[str, ...] = ()
        self.host_key = ""  # SHA256:…; empty for a console
        self.also = ""  # a host name it may take on while we are logged in

    def learn(self, seconds: float = 10.0) -> None:
        """Learn the prompt by two that are alike, so that a line of a greeting is never taken for it."""
        last = ""
        for _ in range(6):
            self.terminal.send("\r")
            host, self.context = self.terminal.until(self._any_prompt, seconds, settle=QUICK)
            if host == last:
                self.hostname = host
                return
            last = host
        raise SessionLost(f"the prompt changes with every line (last {last!r})")

    def _any_prompt(self, text: str) -> tuple[str, str] | None:
        text, broken = without_noise(text, self.patterns)
        found = ANY_PROMPT.fullmatch((text.rstrip("\n") if broken else text).rsplit("\n", 1)[-1])
        return (found["host"], found["context"]) if found else None

    def run(
        self,
        command: str,
        *,
        armed: Armed | None = None,
        leaving: bool = False,
        seconds: float = 30.0,
        settle: float = QUICK,
    ) -> Answer:
        """Send a command and take its whole answer; `seconds` is how long it may be silent in between.

        leaving: the line may end, or fall silent, once an armed question was answered. Raises SessionLost, Unexpected.
        """
        if CONTROL.search(command):
            raise ValueError(f"control character in {command!r}")
        agreed: list[str] = []
        try:
            self.terminal.send(command + "\r")
            judge = self._judge(command, ASKED if armed else ASKING, armed.unfinished if armed else 0.0)
            heard = self.terminal.until(judge, seconds, settle=settle)
            while heard.question:
                self._answer(heard, armed if len(agreed) < 3 else None)
                agreed.append(heard.question)
                heard = self.terminal.until(self._judge("", ASKED), seconds, settle=settle)
        except Ended as ended:
            if leaving and agreed:
                return Answer(_unechoed(ended.said), tuple(agreed), ended=True)
            raise SessionLost(f"the line ended during {command!r}", ended.said) from None
        except Silent as silent:
            if leaving and agreed:
                return Answer(_unechoed(silent.said), tuple(agreed))
            raise SessionLost(
                f"silent for {seconds:.0f} s, without a prompt, after {command!r}", silent.said, silent=True
            ) from None
        return Answer(_unechoed(heard.text) if agreed else heard.text, tuple(agreed))

    def _judge(self, command: str, asking: float = ASKING, unfinished: float = 0.0) -> Callable[[str], _Heard | None]:
        prompt = self._prompt()
        since: dict[str, float] = {}

        def asked(text: str, yes: str, asking: float = asking) -> _Heard | None:
            """A question, once it has stood at the end for a moment."""
            question = self._after_echo(command, text).strip()
            stood = time.monotonic() - since.setdefault(question, time.monotonic())
            return _Heard("", question, yes) if question and stood >= asking else None

        def judge(text: str) -> _Heard | None:
            text, broken = without_noise(text, self.patterns)
            body, newline, last = (text.rstrip("\n") if broken else text).rpartition("\n")
            if newline and (found := prompt.fullmatch(last)):
                self.hostname, self.context = found["host"], found["context"]
                return _Heard(self._after_echo(command, body))
            if fits(self.patterns.confirm_yes, last):
                return asked(text, "yes")
            if fits(self.patterns.confirm_y, last):
                return asked(text, "y")
            echo = bool(command) and command.rstrip() in last
            if echo or not last.strip() or ANY_PROMPT.fullmatch(last):
                return None
            if QUESTION.search(last):
                return asked(text, "", UNKNOWN)
            working = fits(self.patterns.taken, last) or fits(self.patterns.going_down, last)
            return asked(text, "", unfinished) if unfinished and command in text and not working else None

        return judge

    def _prompt(self) -> re.Pattern[str]:
        names = "|".join(re.escape(name) for name in (self.hostname, self.also) if name)
        return re.compile(rf"(?P<host>{names})(?P<context>(?:\([^()\n]+\)){{0,3}})[>#] ?")

    def _after_echo(self, command: str, text: str) -> str:
        if not command:
            return text.lstrip("\n")
        head, found, rest = text.partition(command)
        if not found or len(head) > 400:
            raise SessionLost(f"the echo of {command!r} did not come back: out of step", text[-400:])
        return rest.lstrip(" ").removeprefix("\n")

    def _answer(self, heard: _Heard, armed: Armed | None) -> None:
        if not heard.yes:
            with suppress(SessionLost):
                self.recover()
            raise Unexpected(heard.question, "Ctrl-C")
        if armed is None or not fits(armed.words, heard.question):
            self.terminal.send(("no" if heard.yes == "yes" else "n") + "\r")
            self.terminal.until(self._judge(""), 30.0, settle=QUICK)
            raise Unexpected(heard.question)
        armed.before(heard.question)
        self.terminal.send(heard.yes + "\r")

    def knows(self, start: str, word: str) -> bool:
        """Whether the help for `start` (which ends in a space) lists `word`; nothing is executed."""
        redrawn = re.compile(self._prompt().pattern + re.escape(start.rstrip()) + " ?")

        def helped(text: str) -> str | None:
            text, broken = without_noise(text, self.patterns)
            body, _, last = (text.rstrip("\n") if broken else text).rpartition("\n")
            return body if redrawn.fullmatch(last) and "\n" in body else None

        try:
            self.terminal.send(start + "?")
            listed = self.terminal.until(helped, 5.0, settle=0.02)
            self.terminal.send("\x7f" * (len(start) + 1) + "\r")
            self.terminal.until(self._judge(""), 5.0, settle=0.02)
        except Ended as ended:
            raise SessionLost(f"the line ended at the help for {start!r}", ended.said) from None
        except Silent:
            self.recover()
            return False
        return any(line.split()[:1] == [word] for line in listed.splitlines())

    def recover(self) -> None:
        """Ctrl-C, and back at a prompt. Raises SessionLost."""
        try:
            self.terminal.send("\x03")
            self.terminal.until(self._judge(""), 2.0, settle=0.1)
        except Silent:
            self._insist()
        except Ended as ended:
            raise SessionLost("the line ended", ended.said) from None

    def _insist(self) -> None:
        try:
            self.terminal.send("\x15\r")
            self.terminal.until(self._judge(""), 3.0, settle=0.1)
        except Ended as ended:
            raise SessionLost("the line ended", ended.said) from None
        except Silent as silent:
            raise SessionLost("no prompt comes back", silent.said, silent=True) from None

    def close(self) -> None:
        """Hang up."""
        self.terminal.close()
        if self.transcript:
            self.transcript.close()


def _unechoed(text: str) -> str:
    """What was said after a yes, without its echo."""
    first, _, rest = text.lstrip(" \n").partition("\n")
    return rest if first.strip() in ("y", "yes") else text


def denied(answer: str, patterns: Patterns) -> str:
    """The line of an answer that says this user may not give the command; empty where none does.

    A description is the technician's own word: "no access, reserved" denies nothing.
    """
    first = [line.strip() for line in answer.strip().splitlines()[:3]]
    return next((line for line in first if fits(patterns.no_rights, line) and not DESCRIBES.match(line)), "")


def complaint(answer: str, patterns: Patterns) -> str:
    """The line of a short answer that says the command did nothing, in whatever words; empty where none does."""
    if line := refused(answer, patterns) or denied(answer, patterns):
        return line
    return next((line.strip() for line in answer.splitlines()[:5] if fits(patterns.not_taken, line)), "")


def refused(answer: str, patterns: Patterns) -> str:
    """The line of an answer that says the command was not accepted; empty where none does."""
    for line in answer.splitlines():
        if fits(patterns.error, line) or fits(patterns.syntax_error, line):
            return line.strip()
    return ""
