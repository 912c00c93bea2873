"""The boot test: the converted disk boots on virtio, on a throwaway layer, and the kernel's own words decide."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.boot.machine import Machine, NotStarted
from engines.boot.media import Disk, Hardware
from engines.boot.screen import plain
from engines.boot.witness import last_lines
from engines.job.errors import Refused

MEMORY = 512  # MiB
SILENT = {"kvm": 180.0, "tcg": 600.0}  # s without a new word on the console
WITHIN = 1800.0  # s, whatever it says: a start job may be waited for without end
SETTLED = 25.0  # s of userland without a complaint
BAD = re.compile(
    r"Kernel panic.*|could not find filesystem.*|VFS: Cannot open root device.*|Unable to mount root fs.*"
    r"|dracut:/#|Dropping to debug shell.*|dracut.*Could not boot.*|\(initramfs\)|ALERT!.*does not exist.*"
    r"|Give root password for maintenance.*|[Vv]olume group .* not found.*|emergency mode.*"
)
BAD_SCREEN = re.compile(
    r"Error \d\d: .*|No bootable device.*|error: .*(?:not found|no such).*|GRUB (?:Hard Disk|Geom|Read) Error.*"
)
USERLAND = re.compile(r"INIT: version .*|Welcome to .*|systemd\[1\]: .*|Entering runlevel.*")
DONE = re.compile(r"login: *$|FIXTURE-BOOTED .*|Power down.*|reboot: .*", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """ok: root mounted from the virtio disk and userland began. why: one line. lines: the console's last."""

    ok: bool
    why: str
    lines: tuple[str, ...]
    seconds: float
    screenshot: Path | None = None


def boot(disk: Path, name: str, shot: Path, check: Callable[[], None]) -> Verdict:
    """Boot a qcow2 overlay whose menu speaks on the serial line; `name` is the disk's name on virtio."""
    hardware = Hardware(
        media=(Disk(disk, format="qcow2", bus="virtio"),), memory=MEMORY, extra=("-device", "virtio-net-pci")
    )
    started = time.monotonic()
    try:
        with Machine(hardware, check=check) as machine:
            ok, why = _watch(machine, name, started)
            text = _serial(machine)
            taken = _shot(machine, shot)
            lines = last_lines(text) or tuple(line for line in machine.screen() if line)
    except NotStarted as refused:
        return Verdict(False, refused.why, (), time.monotonic() - started)
    return Verdict(ok, why, lines, time.monotonic() - started, taken)


def _watch(machine: Machine, name: str, started: float) -> tuple[bool, str]:
    mounted = mounted_pattern(name)
    silent = SILENT[machine.accelerator.name]
    settled: float | None = None
    heard, size = started, 0
    while True:
        alive = machine.alive
        text = _serial(machine)
        if len(text) > size:
            heard, size = time.monotonic(), len(text)
        if bad := BAD.search(text) or BAD_SCREEN.search("\n".join(machine.screen())):
            return False, bad.group().strip()
        root, user = mounted.search(text), USERLAND.search(text)
        if root and user:
            settled = settled or time.monotonic()
            if not alive or DONE.search(text) or time.monotonic() - settled > SETTLED:
                return True, f"root is mounted from {name} ({root.group().strip()}), then: {user.group().strip()}"
        if not alive:
            return False, "the guest powered off or reset before its root was mounted"
        if time.monotonic() - heard > silent:
            return False, f"the console has said nothing for {silent:.0f} s, and nothing conclusive before"
        if time.monotonic() - started > WITHIN:
            return False, f"nothing conclusive within {WITHIN:.0f} s"
        machine.pause(0.2)


def mounted_pattern(name: str) -> re.Pattern[str]:
    """The kernel's words for a root mounted from that disk; LVM and old kernels name none, so its partitions too."""
    done = r"[^\n]*(?:mounted|clean mount|recovery complete)[^\n]*"
    direct = rf"(?:EXT[234]-fs|XFS|REISERFS)[^\n]*\({name}\d*\){done}"
    listed = rf"\b{name}: {name}\d"
    silent = rf"(?:(?:EXT[34]-fs|XFS)[^\n]*\(dm-\d+\){done}|(?:EXT[34]-fs: mounted|VFS: Mounted root)[^\n]*)"
    return re.compile(rf"{direct}|{listed}(?=.*{silent})", re.DOTALL)


def _serial(machine: Machine) -> str:
    return plain(machine.serial().decode("utf-8", "replace").replace("\r", ""))


def _shot(machine: Machine, path: Path) -> Path | None:
    if not machine.alive:
        return None
    try:
        return machine.screendump(path)
    except Refused:
        return None
