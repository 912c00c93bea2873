"""Who writes to some disks: the processes that can be made to stand still, and what cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engines.host import open_files
from engines.host.holder import Holder, boot_id, start_time
from engines.host.mountinfo import mounts


def processes(disks: Iterable[Path]) -> list[Holder]:
    """Processes other than this one and those above it that have one of the disks open for writing."""
    found = {pid for disk in disks for pid in open_files.processes(disk.stat(), writing=True)}
    return [Holder(pid, start_time(pid), boot_id()) for pid in sorted(found - _above())]


def in_kernel(disks: Iterable[Path]) -> list[str]:
    """What the kernel itself does with the disks, in words: mounts, swap, devices above."""
    numbers = {disk.stat().st_rdev for disk in disks}
    names = {f"{os.major(number)}:{os.minor(number)}" for number in numbers}
    found = [f"mounted at {mount.folder}" for mount in mounts() if mount.number in names]
    for name in sorted(names):
        holders = Path(f"/sys/dev/block/{name}/holders")
        found += [f"part of {entry.name}" for entry in holders.iterdir()] if holders.is_dir() else []
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        swap = Path(line.split()[0])
        if swap.exists() and swap.stat().st_rdev in numbers:
            found.append("swap of this machine")
    return found


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
