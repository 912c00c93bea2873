"""A verdict on whether something boots, with what was seen as evidence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engines.boot.accel import Accelerator
from engines.boot.machine import Machine, NotStarted, Pattern, Seen
from engines.boot.media import Hardware
from engines.job.errors import Refused

# SeaBIOS and OVMF after the last device was tried: nothing more will come.
HOPELESS = re.compile(r"No bootable device|BdsDxe: No bootable option or device was found")
LAST_LINES = 12


@dataclass(frozen=True)
class Verdict:
    """ok: the expected text came. why: one line. last_lines: of what was watched. seconds: from the first look."""

    ok: bool
    why: str
    last_lines: tuple[str, ...]
    seconds: float
    screenshot: Path | None = None


def witness(
    hardware: Hardware,
    expected: str | re.Pattern[str],
    *,
    where: Literal["screen", "serial"] = "screen",
    deadline: float = 120.0,
    hopeless: re.Pattern[str] = HOPELESS,
    screenshot: Path | None = None,
    check: Callable[[], None] = lambda: None,
    accelerator: Accelerator | None = None,
) -> Verdict:
    """Boot the hardware and wait until `expected` shows, the boot is `hopeless`, or `deadline` seconds are over.

    A guest or image that does not work is a verdict. Raises Refused where this machine lacks QEMU or an image,
    and whatever `check` raises.
    """
    started = time.monotonic()
    try:
        with Machine(hardware, check=check, accelerator=accelerator) as machine:
            verdict = judge(machine, expected, where=where, deadline=deadline, hopeless=hopeless)
            return replace(verdict, screenshot=_shot(machine, screenshot))
    except NotStarted as refused:
        return Verdict(False, refused.why, (), time.monotonic() - started)


def judge(
    machine: Machine,
    expected: str | re.Pattern[str],
    *,
    where: Literal["screen", "serial"] = "screen",
    deadline: float = 120.0,
    hopeless: re.Pattern[str] = HOPELESS,
) -> Verdict:
    """A verdict on a machine that already runs."""
    wanted = re.compile(expected, re.MULTILINE) if isinstance(expected, str) else expected
    seen = machine.wait_for(_either(wanted, hopeless), where=where, deadline=deadline)
    good = wanted.search(seen.text) if seen.found else None
    why = f"{good.group()!r} after {seen.seconds:.1f} s" if good else _reason(machine, seen, hopeless, where)
    return Verdict(good is not None, why, last_lines(seen.text), seen.seconds)


def last_lines(text: str) -> tuple[str, ...]:
    """The last lines with something on them."""
    lines = [line.rstrip() for line in text.splitlines()]
    return tuple(line for line in lines if line)[-LAST_LINES:]


def _either(wanted: re.Pattern[str], hopeless: re.Pattern[str]) -> Pattern:
    return lambda text: bool(wanted.search(text) or hopeless.search(text))


def _reason(machine: Machine, seen: Seen, hopeless: re.Pattern[str], where: str) -> str:
    if seen.how == "exited":
        status = machine.exit_status
        said = machine.stderr().strip().splitlines()
        how = "the guest reset or powered off" if status == 0 else f"QEMU ended with status {status}"
        return f"{how} after {seen.seconds:.1f} s" + (f": {said[-1]}" if said and status else "")
    lost = hopeless.search(seen.text)
    if seen.found and lost:
        return f"the firmware gave up: {lost.group()}"
    if where == "screen" and not seen.text:
        return f"not there after {seen.seconds:.0f} s; the screen is in a graphics mode and has no text"
    shown = last_lines(seen.text)
    last = f"last line: {shown[-1].strip()}" if shown else "nothing was shown"
    return f"not there after {seen.seconds:.0f} s; {last}"


def _shot(machine: Machine, path: Path | None) -> Path | None:
    """The picture is extra evidence: a machine that has ended has none to give."""
    if path is None or not machine.alive:
        return None
    try:
        return machine.screendump(path)
    except Refused:
        return None
