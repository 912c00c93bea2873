"""A DOS prompt on a machine's text screen: type a command, read what it printed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engines.boot.machine import Machine, Waited

PROMPT = re.compile(r"[A-Z]:\\[^>]*>")
LONGEST = 70  # characters; a longer line would wrap and could not be read back


@dataclass(frozen=True)
class Answer:
    """What the screen shows of a command's output; `how` says whether the prompt came back."""

    how: Literal["found", "timed out", "exited"]
    lines: tuple[str, ...]
    seconds: float

    @property
    def found(self) -> bool:
        """Whether the prompt came back."""
        return self.how == "found"


def wait_for_prompt(machine: Machine, deadline: float = 120.0) -> Answer:
    """Wait until the last line on the screen is a prompt with nothing typed behind it."""
    seen = _settled(machine, deadline)
    return Answer(seen.how, _filled(seen.text), seen.seconds)


def command(machine: Machine, line: str, deadline: float = 60.0) -> Answer:
    """Type `line` at the prompt that is there, see it arrive, press Enter, and wait for the next prompt.

    The lines are those between the two prompts that are still on the screen. Raises ValueError for a line that
    would wrap or that no keyboard writes.
    """
    if not line or len(line) > LONGEST:
        raise ValueError(f"a line of {len(line)} characters; allowed are 1 to {LONGEST}")
    machine.type_text(line)
    echo = re.compile(PROMPT.pattern + re.escape(line.rstrip()))
    typed = machine.wait_for(lambda text: bool(echo.fullmatch(_last(text))), deadline=deadline)
    if not typed.found:
        return Answer(typed.how, _filled(typed.text), typed.seconds)
    machine.type_text("\n")
    ended = _settled(machine, deadline)
    shown = _filled(ended.text)
    after = max((at + 1 for at, row in enumerate(shown) if echo.fullmatch(row)), default=0)
    return Answer(ended.how, shown[after : -1 if ended.found else None], ended.seconds)


def _settled(machine: Machine, deadline: float) -> Waited:
    """Wait for a prompt that is still there at the next look: a batch with ECHO on draws one before each command."""
    before: list[str] = []

    def still(text: str) -> bool:
        before.append(text)
        return len(before) > 1 and before[-2] == text and bool(PROMPT.fullmatch(_last(text)))

    return machine.wait_for(still, deadline=deadline)


def _filled(text: str) -> tuple[str, ...]:
    return tuple(row.rstrip() for row in text.splitlines() if row.strip())


def _last(text: str) -> str:
    return (_filled(text) or ("",))[-1]
