"""Who writes to some disks: the processes that can be made to stand still, and what cannot be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from engines.job.holder import Holder, boot_id, start_time


def processes(devices: Iterable[tuple[int, int]]) -> list[Holder]:
    """Processes other than this one and those above it that have one of the devices open for writing."""
    wanted = {os.makedev(*device) for device in devices}
    spared = _above()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in spared and _writes(folder, wanted):
            pid = int(folder.name)
            found.append(Holder(pid, start_time(pid), boot_id()))
    return found


def in_kernel(devices: Iterable[tuple[int, int]]) -> list[str]:
    """What the kernel itself does with the devices, in words: mounts, swap, devices above."""
    names = {f"{major}:{minor}" for major, minor in devices}
    numbers = {os.makedev(*device) for device in devices}
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = [f"mounted at {line[4]}" for line in lines if line[2] in names]
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


def _writes(folder: Path, wanted: set[int]) -> bool:
    try:
        for entry in os.scandir(folder / "fd"):
            seen = os.stat(entry.path)  # noqa: PTH116  scandir's own path
            if stat.S_ISBLK(seen.st_mode) and seen.st_rdev in wanted:
                flags = int((folder / "fdinfo" / entry.name).read_text().split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    return True
    except (OSError, IndexError):
        return False  # gone, or another user's
    return False
