"""Whether a guest that is being booted comes up, by its screen and serial line, with a picture where they do not tell.

The guest is as its backup has it: nothing in it was changed to make it talk.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engines.boot.machine import Machine
from engines.boot.witness import HOPELESS, last_lines
from engines.job.errors import Refused

LOOK = 0.5  # s between two looks
PICTURE = 5.0  # s between two pictures of a graphical screen
STILL = 30.0  # s without a change after which a graphical screen has nothing more to say
ROOM = 256 << 20  # bytes that stay free where the guest's writes go
UP = re.compile(r"\blogin: *$|^Welcome to .*|FIXTURE-BOOTED.*|Reached target .*Multi-User.*", re.MULTILINE)
DOWN = re.compile(
    r"Kernel panic.*|could not find filesystem.*|VFS: Cannot open root device.*|Unable to mount root fs.*"
    r"|dracut:/#|Dropping to debug shell.*|\(initramfs\)|ALERT!.*does not exist.*|Give root password for maintenance.*"
    r"|[Vv]olume group .* not found.*|You are in emergency mode.*|grub rescue>|Error \d\d: .*|error: .*not found.*"
    r"|GRUB (?:Hard Disk|Geom|Read) Error.*|(?:BOOTMGR|NTLDR) is missing.*|Missing operating system.*"
    r"|Operating system not found.*|INACCESSIBLE_BOOT_DEVICE.*"
)


@dataclass(frozen=True)
class Seen:
    """How a boot went: `unsure` is a screen without text that came to rest, or nothing conclusive in time."""

    how: Literal["boots", "fails", "unsure"]
    why: str
    seconds: float
    lines: tuple[str, ...] = ()
    screenshot: Path | None = None


def watched(
    machine: Machine, expect: re.Pattern[str] | None, deadline: float, overlay: Path, shot: Path
) -> Generator[float, None, Seen]:
    """Look until it is clear, yielding the seconds so far. expect: what must come instead of a usual sign of life."""
    seen = yield from _look(machine, expect, deadline, overlay, shot)
    text = "\n".join(machine.screen()) or _serial(machine)
    return replace(seen, lines=last_lines(text), screenshot=_shot(machine, shot))


def _look(
    machine: Machine, expect: re.Pattern[str] | None, deadline: float, overlay: Path, shot: Path
) -> Generator[float, None, Seen]:
    began = time.monotonic()
    graphics = Graphics(machine, shot)
    while (seconds := time.monotonic() - began) < deadline:
        alive = machine.alive
        screen = "\n".join(machine.screen())
        for text, where in ((screen, "on the screen"), (_serial(machine), "on the serial line")):
            if found := (expect or UP).search(text):
                return Seen("boots", f"{found.group().strip()!r} {where} after {seconds:.0f} s", seconds)
            if lost := DOWN.search(text) or HOPELESS.search(text):
                return Seen("fails", f"{lost.group().strip()!r} {where} after {seconds:.0f} s", seconds)
        if not alive:
            return Seen("fails", f"it powered off or reset after {seconds:.0f} s", seconds)
        if expect is None and not screen and graphics.still():
            return Seen("unsure", f"a graphical screen that came to rest after {seconds:.0f} s", seconds)
        if _room(overlay) < ROOM:
            return Seen("unsure", f"{overlay.parent} has no room for what the guest writes", seconds)
        yield seconds
        machine.pause(LOOK)
    mode = "; the screen is graphical" if not machine.screen() else ""
    return Seen("unsure", f"nothing conclusive within {deadline:.0f} s{mode}", deadline)


class Graphics:
    """A graphical screen, looked at every few seconds; `shot` is where its picture is put."""

    def __init__(self, machine: Machine, shot: Path) -> None:
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
    return machine.serial().decode("latin-1").replace("\r", "")


def _shot(machine: Machine, path: Path) -> Path | None:
    if not machine.alive:
        return None
    try:
        return machine.screendump(path)
    except Refused:
        return None


def _room(overlay: Path) -> int:
    found = os.statvfs(overlay.parent)
    return found.f_bavail * found.f_frsize
