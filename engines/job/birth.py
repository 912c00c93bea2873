"""Gives each run a moment after that of every run before it, whatever the clock did."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

NEWEST = "newest-run"  # beside the folder of runs: when the newest was born, in ns since 1970
LONGEST = 20  # digits


def after_all(runs: Path, now: int, newest: Callable[[], int]) -> int:
    """`now` in ns, or the next one after the newest run where the clock is behind that. Raises OSError.

    newest: finds it from the runs themselves, where it is not noted.
    """
    descriptor = os.open(runs.parent / NEWEST, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        noted = os.pread(descriptor, LONGEST, 0)
        born = max(now, (int(noted) if noted.isdigit() else newest()) + 1)
        os.pwrite(descriptor, b"%0*d" % (LONGEST, born), 0)
        return born
    finally:
        os.close(descriptor)
