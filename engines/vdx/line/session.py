"""A logged-in command line: one command, its whole answer, and no question answered that the caller did not arm."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from engines.vdx.line.patterns import Patterns, Wordings, fits
from engines.vdx.line.screen import without_noise
from engines.vdx.line.terminal import Ended, Silent, Terminal
from engines.vdx.line.transcript import Transcript

ANY_PROMPT = re.compile(r"(?P<host>[\w][\w.+:/\[\]-]*)(?P<context>(?:\([^()\n]+\)){0,3})[>#] ?")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
QUICK = 0.005  # s of quiet after a prompt; the echo of the next command proves that it was one
SURE = 0.03  # s of quiet after a prompt that ends a configuration
ASKED = 0.06  # s of quiet after a question that is expected
ASKING = 0.5  # s of quiet after what looks like one where none is: such text may stand in a configuration


class SessionLost(Exception):
    """The session ended or fell out of step where it must not; `said` is the last it said."""

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.said = said


class Unexpected(Exception):
    """The switch asked something nobody armed; it was answered no. `question` is its own words."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self.question = question


@dataclass(frozen=True)
class Armed:
    """Leave to answer yes to a question that says one of `words`; `before` is called with it first."""

    words: Wordings
    before: Callable[[str], None]


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
    yes: str = ""


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
        """Send a command and take its whole answer.

        leaving: the line may end, or fall silent, once an armed question was answered. Raises SessionLost, Unexpected.
        """
        if CONTROL.search(command):
            raise ValueError(f"control character in {command!r}")
        agreed: list[str] = []
        try:
            self.terminal.send(command + "\r")
            heard = self.terminal.until(self._judge(command, ASKED if armed else ASKING), seconds, settle=settle)
            while heard.question:
                self._answer(heard, armed if len(agreed) < 3 else None)
                agreed.append(heard.question)
                heard = self.terminal.until(self._judge("", ASKED), seconds, settle=settle)
        except Ended as ended:
            if leaving and agreed:
                return Answer(ended.said, tuple(agreed), ended=True)
            raise SessionLost(f"the line ended during {command!r}", ended.said) from None
        except Silent as silent:
            if leaving and agreed:
                return Answer(silent.said, tuple(agreed))
            raise SessionLost(f"no prompt within {seconds:.0f} s after {command!r}", silent.said) from None
        return Answer(heard.text, tuple(agreed))

    def _judge(self, command: str, asking: float = ASKING) -> Callable[[str], _Heard | None]:
        prompt = self._prompt()
        since: dict[str, float] = {}

        def asked(text: str, yes: str) -> _Heard | None:
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
            return None

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
            self.terminal.send("\x7f" * len(start) + "\r")
            self.terminal.until(self._judge(""), 5.0, settle=0.02)
        except (Ended, Silent) as error:
            raise SessionLost(f"no help for {start!r}", error.said) from None
        return any(line.split()[:1] == [word] for line in listed.splitlines())

    def close(self) -> None:
        """Hang up."""
        self.terminal.close()
        if self.transcript:
            self.transcript.close()


def refused(answer: str, patterns: Patterns) -> str:
    """The line of an answer that says the command was not accepted; empty where none does."""
    for line in answer.splitlines():
        if fits(patterns.error, line) or fits(patterns.syntax_error, line):
            return line.strip()
    return ""
