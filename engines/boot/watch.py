"""Whether a guest that is being booted comes up, by its screen and serial line, with a picture where they do not tell.

One judge for every task: a task adds only what it looks for (`Signs`).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engines.boot.console import spoken
from engines.boot.dead_ends import DOWN
from engines.boot.machine import Machine
from engines.job.errors import Refused

LOOK = 0.5  # s between two looks
PICTURE = 5.0  # s between two pictures of a graphical screen
STILL = 30.0  # s without a change after which a graphical screen has nothing more to say
ROOM = 64 << 20  # bytes that stay free where the guest's writes go
LAST_LINES = 12
LOGIN = r"(?<!password for )(?<!password to )\blogin: *$"  # a shell for repairs asks for a password to log in
UP = re.compile(
    rf"{LOGIN}|^Welcome to (?!.*(?:[Ii]nitramfs|(?:emergency|rescue) mode)).*|FIXTURE-BOOTED.*"
    r"|Reached target .{0,200}Multi-User.*",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Seen:
    """How a boot went: `unsure` is a screen without text that came to rest, or nothing conclusive in time.

    why: one line. lines: the last of what was watched. text: all that the serial line said.
    """

    how: Literal["boots", "fails", "unsure"]
    why: str
    seconds: float
    lines: tuple[str, ...] = ()
    screenshot: Path | None = None
    text: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether it came up."""
        return self.how == "boots"


Rest = Callable[[str, bool], tuple[Literal["boots", "fails", "unsure"], str]]


def ended(_text: str, alive: bool) -> tuple[Literal["fails", "unsure"], str]:
    """The usual judgement of a guest that ended by itself, or fell silent, before it was up."""
    return ("unsure", "it does not get on") if alive else ("fails", "it powered off or reset")


def at_once(_text: str) -> float:
    """No watching on once it is up."""
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What a task looks for.

    up: the guest is up. down: it never will be. within: s in all.
    linger: s that a guest which is up is watched on, by all it has said.
    patience: s without a new word on the serial line, by all that it and the screen say, after which `rest` judges;
    None waits on.
    rest: the verdict on a guest that powered off (not alive), or said nothing more, by all it has said.
    pictures: a graphical screen that came to rest has nothing more to say.
    """

    up: re.Pattern[str] = UP
    down: re.Pattern[str] = DOWN
    within: float = 300.0
    linger: Callable[[str], float] = at_once
    patience: Callable[[str], float] | None = None
    rest: Rest = ended
    pictures: bool = True


def watched(machine: Machine, signs: Signs, overlay: Path | None, shot: Path | None) -> Generator[float, None, Seen]:
    """Look until it is clear, yielding the seconds so far. overlay: where the guest's writes go, for its room.

    Raises Refused where that room ends.
    """
    seen = yield from _look(machine, signs, overlay, shot)
    lines = seen.lines or last_lines("\n".join(machine.screen()) or _serial(machine))
    return replace(seen, lines=lines, text=_serial(machine), screenshot=_shot(machine, shot))


def last_lines(text: str) -> tuple[str, ...]:
    """The last lines with something on them."""
    lines = [line.rstrip() for line in text.splitlines()]
    return tuple(line for line in lines if line)[-LAST_LINES:]


def _look(machine: Machine, signs: Signs, overlay: Path | None, shot: Path | None) -> Generator[float, None, Seen]:
    began = heard = time.monotonic()
    graphics, size, up = Graphics(machine, shot), 0, _Up()
    while (seconds := time.monotonic() - began) < signs.within:
        alive = machine.alive
        screen, serial = "\n".join(machine.screen()), _serial(machine)
        if len(serial) > size:
            heard, size = time.monotonic(), len(serial)
        if decided := up.look(signs, (screen, serial), seconds, alive):
            return decided
        if not alive:
            how, why = signs.rest(serial, False)
            return Seen(how, f"{why} after {seconds:.0f} s{_status(machine)}", seconds)
        silent = signs.patience(f"{serial}\n{screen}") if signs.patience else signs.within
        if not up.seen and time.monotonic() - heard > silent:
            how, why = signs.rest(f"{serial}\n{screen}", True)
            return Seen(how, f"{why}, and the console has said nothing for {silent:.0f} s", seconds)
        if signs.pictures and not screen and graphics.still():
            return Seen("unsure", f"a graphical screen that came to rest after {seconds:.0f} s", seconds)
        if overlay and _room(overlay) < ROOM:
            raise Refused(
                f"{overlay.parent} has less than {ROOM >> 20} MiB free, and what the booted guest writes goes there",
                "make room there, or set TMPDIR to a folder that has it",
            )
        yield seconds
        machine.pause(LOOK)
    return up.at_last(signs, "" if machine.screen() else "; the screen is graphical")


class _Up:
    """The first sign that the guest is up, and since when it is there."""

    def __init__(self) -> None:
        self.seen: Seen | None = None

    def look(self, signs: Signs, texts: tuple[str, str], seconds: float, alive: bool) -> Seen | None:
        """The verdict once there is one: what was waited for comes first, a guest that lingers may still go down."""
        for text, where in zip(texts, ("on the screen", "on the serial line"), strict=True):
            if self.seen is None and (found := signs.up.search(text)):
                why = f"{found.group().strip()!r} {where} after {seconds:.0f} s"
                self.seen = Seen("boots", why, seconds, last_lines(text))
                if not signs.linger(texts[1]):
                    return self.seen
            if lost := signs.down.search(text):
                why = f"{lost.group().strip()!r} {where} after {seconds:.0f} s"
                return Seen("fails", why, seconds, last_lines(text))
        if self.seen and (not alive or seconds - self.seen.seconds >= signs.linger(texts[1])):
            return self.seen
        return None

    def at_last(self, signs: Signs, mode: str) -> Seen:
        """The verdict when the time is over: a guest that came up is up, whatever it was watched on for."""
        return self.seen or Seen("unsure", f"nothing conclusive within {signs.within:.0f} s{mode}", signs.within)


def _status(machine: Machine) -> str:
    said = machine.stderr().strip().splitlines()
    return f": QEMU ended with status {machine.exit_status}: {said[-1]}" if machine.exit_status and said else ""


class Graphics:
    """A graphical screen, looked at every few seconds; `shot` is where its picture is put."""

    def __init__(self, machine: Machine, shot: Path | None) -> None:
        self._machine, self._shot = machine, shot
        self._looked = self._changed = time.monotonic()
        self._last = b""

    def still(self) -> bool:
        """Whether nothing has changed for long."""
        now = time.monotonic()
        if now - self._looked > PICTURE:
            self._looked = now
            taken = _shot(self._machine, self._shot)
            picture = hashlib.sha256(taken.read_bytes()).digest() if taken else b""
            if picture != self._last:
                self._last, self._changed = picture, now
        return bool(self._last) and now - self._changed > STILL


def _serial(machine: Machine) -> str:
    return spoken(machine.serial())


def _shot(machine: Machine, path: Path | None) -> Path | None:
    if path is None or not machine.alive:
        return None
    try:
        return machine.screendump(path)
    except Refused:
        return None


def _room(overlay: Path) -> int:
    found = os.statvfs(overlay.parent)
    return found.f_bavail * found.f_frsize
