"""Boots hardware from start to verdict, for who waits for one text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from engines.boot.accel import Accelerator
from engines.boot.machine import Machine, NotStarted
from engines.boot.media import Hardware
from engines.boot.watch import Seen, Signs, watched

FIRMWARE = re.compile(r"No bootable device|BdsDxe: No bootable option or device was found")


def witness(
    hardware: Hardware,
    expected: str | re.Pattern[str],
    *,
    deadline: float = 120.0,
    hopeless: re.Pattern[str] = FIRMWARE,
    screenshot: Path | None = None,
    check: Callable[[], None] = lambda: None,
    accelerator: Accelerator | None = None,
) -> Seen:
    """Boot the hardware and wait until `expected` shows, the boot is `hopeless`, or `deadline` seconds are over.

    A guest or image that does not work is a verdict. Raises Refused where this machine lacks QEMU or an image,
    and whatever `check` raises.
    """
    wanted = re.compile(expected, re.MULTILINE) if isinstance(expected, str) else expected
    return judged(
        hardware,
        Signs(up=wanted, down=hopeless, within=deadline, pictures=False),
        screenshot=screenshot,
        check=check,
        accelerator=accelerator,
    )


def judged(
    hardware: Hardware,
    signs: Signs,
    *,
    overlay: Path | None = None,
    screenshot: Path | None = None,
    check: Callable[[], None] = lambda: None,
    accelerator: Accelerator | None = None,
) -> Seen:
    """Boot the hardware and look for the signs."""
    started = time.monotonic()
    try:
        with Machine(hardware, check=check, accelerator=accelerator) as machine:
            watching = watched(machine, signs, overlay, screenshot)
            while True:
                try:
                    next(watching)
                except StopIteration as done:
                    seen: Seen = done.value
                    return seen
    except NotStarted as refused:
        return Seen("fails", refused.why, time.monotonic() - started)
