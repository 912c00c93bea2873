"""Who writes to some disks: the processes that can be made to stand still, and what cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engines.host import users
from engines.host.holder import Holder, boot_id, start_time


def processes(disks: Iterable[Path]) -> list[Holder]:
    """Processes other than this one and those above it that have one of the disks open for writing."""
    found = {user.pid for disk in disks for user in users.processes(disk.stat()) if user.writes}
    return [Holder(pid, start_time(pid), boot_id()) for pid in sorted(found - _above())]


def in_kernel(disks: Iterable[Path]) -> list[str]:
    """What the kernel itself does with the disks, in words: mounts, swap, devices above."""
    return [user.words for disk in disks for user in users.above(disk.stat())]


def _above() -> set[int]:
    """This process and its ancestors: stopping those would stop us."""
    chain = {1}
    pid = os.getpid()
    while pid > 0 and pid not in chain:
        chain.add(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(text[text.rindex(")") + 2 :].split()[1])
    return chain
