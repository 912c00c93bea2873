"""Who holds a run or a lock: a process named so that a reused pid is never taken for it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """A process: `started` is its start time in clock ticks since boot (/proc/PID/stat, field 22)."""

    pid: int
    started: int
    boot: str
    run: str = ""

    def alive(self) -> bool:
        """Whether that very process still runs (a zombie does not)."""
        return self.boot == boot_id() and start_time(self.pid) == self.started


def me(run: str = "") -> Holder:
    """This process."""
    return Holder(os.getpid(), start_time(os.getpid()), boot_id(), run)


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int:
    """Clock ticks since boot at which `pid` started; -1 where it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    after_name = stat[stat.rindex(")") + 2 :].split()
    return -1 if after_name[0] in "ZX" else int(after_name[19])
