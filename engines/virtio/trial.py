"""The boot test: the disk boots on virtio, on a throwaway layer, until the guest itself says that it is up."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engines.boot.accel import tried
from engines.boot.dead_ends import DOWN
from engines.boot.firmware import Firmware
from engines.boot.media import Disk, Hardware
from engines.boot.watch import LOGIN, Seen, Signs
from engines.boot.witness import judged
from engines.virtio.reporter import BEGUN, END

MEMORY = 512  # MiB
WITHIN = {"kvm": 900.0, "tcg": 1800.0}  # s on a quiet machine, whatever it says
SLOWEST = 4.0  # times that, on a busy one
SILENT = {"kvm": 180.0, "tcg": 600.0}  # s without a new word on the console
SETTLED = {"kvm": 30.0, "tcg": 120.0}  # the same, once userland runs on its root
# s from a login prompt to the end of the report: systemd waits two minutes for a network in front of it, gives a device
# that never comes 90 s, and a card has a minute
REPORTS = 480.0
LINGER = 60.0  # s from a login prompt to the report's beginning, where both wait for the same
SYSTEMD = re.compile(r"\[  OK  \]|systemd\[1\]: |Reached target ")
UP = re.compile(
    rf"{END.pattern}|{LOGIN}|FIXTURE-BOOTED .{{0,400}}cmdline=.*"
    r"|Reached target .{0,200}(?:Multi-User|Graphical Interface|(?:multi-user|graphical)\.target).*"
    r"|Started .{0,200}(?:\bGetty on |getty@\S{1,100}\.service).*|Startup finished in .*",
    re.MULTILINE,
)
USERLAND = re.compile(
    r"INIT: version .*|Welcome to (?!.{0,200}[Ii]nitramfs).*|systemd\[1\]: .*|Entering runlevel.*"
    r"|OpenRC \d.*|init started: BusyBox.*|mountall: .*|\binit: \S+ (?:\S+ )?process .*|- runit: .*"
)
# A converted guest's disk holds no such shell: its loader was not found.
HOPELESS = re.compile(rf"{DOWN.pattern}|UEFI Interactive Shell.*", re.MULTILINE)
# GRUB says so of a font or a module that it can do without, too: only the silence behind it decides.
LOADER = re.compile(r"^error: .*", re.MULTILINE)
KERNEL = re.compile(r"Linux version |\[ +\d+\.\d+\]|Decompressing Linux|Booting the kernel")
CARD = {"virtio": "virtio-net-pci", "ide": "e1000"}
ADDRESS = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True)
class Trial:
    """One boot.

    disk: a throwaway qcow2 layer that takes what the guest writes; its menu speaks on the serial line. name: the disk's
    name on that bus. address: the network card's, as the guest knows it; empty for any. card: QEMU's model of it.
    more: layers of further disks.
    """

    disk: Path
    name: str
    bus: Literal["virtio", "ide"]
    firmware: Firmware
    address: str = ""
    card: str = ""
    more: tuple[Path, ...] = ()

    @property
    def hardware(self) -> Hardware:
        """A card whose cable ends in QEMU: it gives an address by DHCP and leads nowhere."""
        model = self.card or CARD[self.bus]
        card = f"{model},netdev=trial" + (f",mac={self.address}" if ADDRESS.fullmatch(self.address) else "")
        network = ("-netdev", "user,id=trial,restrict=on", "-device", card)
        return Hardware(
            media=(
                Disk(self.disk, format="qcow2", bus=self.bus, snapshot=False),
                *(Disk(disk, format="qcow2", bus=self.bus) for disk in self.more),
            ),
            memory=MEMORY,
            firmware=self.firmware,
            extra=network,
        )


def boot(trial: Trial, shot: Path, check: Callable[[], None]) -> Seen:
    """Boot it and judge. Raises Refused where this machine cannot, or has no room left."""
    accelerator = tried(check=check)
    mounted = mounted_pattern(trial.name)
    settled, silent = SETTLED[accelerator.name], SILENT[accelerator.name]

    def patience(text: str) -> float:
        if (trouble := LOADER.search(text)) and not KERNEL.search(text, trouble.end()):
            return settled
        return settled if USERLAND.search(text) and mounted.search(text) else silent

    def rest(text: str, alive: bool) -> tuple[Literal["boots", "fails", "unsure"], str]:
        root, user = mounted.search(text), USERLAND.search(text)
        if user is None:
            if (trouble := LOADER.search(text)) and not KERNEL.search(text):
                return "fails", f"the boot loader said {trouble.group().strip()!r} and started no kernel"
            return "fails", "no userland began" if alive else "it powered off or reset before its root was mounted"
        if root is None:
            return "unsure", "userland began, but no word tells which root it runs on"
        return "unsure", "no login prompt came" if alive else "it powered off or reset before it said that it is up"

    allowed = within(accelerator.name)
    signs = Signs(up=UP, down=HOPELESS, within=allowed, linger=linger, patience=patience, rest=rest, pictures=False)
    seen = judged(trial.hardware, signs, overlay=trial.disk, screenshot=shot, check=check, accelerator=accelerator)
    if seen.how == "boots" and (lost := HOPELESS.search(seen.text)):
        return replace(seen, how="fails", why=f"{lost.group().strip()!r} was said, whatever came then")
    root, user = mounted.search(seen.text), USERLAND.search(seen.text)
    if root is None or user is None or seen.how == "fails":
        return seen
    words = f"root is mounted from {trial.name} ({root.group().strip()[:160]}), then: {user.group().strip()}"
    return replace(seen, why=f"{words}; {seen.why}")


def within(accelerator: str) -> float:
    """Seconds that a boot may take here: more on a machine with more to do than processors."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return WITHIN[accelerator] * min(SLOWEST, max(1.0, busy))


def linger(text: str) -> float:
    """A login prompt may come before the last mount has failed: the report knows."""
    if END.search(text):
        return 0.0
    return REPORTS if BEGUN.search(text) or SYSTEMD.search(text) else LINGER


@dataclass(frozen=True)
class RootWords:
    """The kernel's words for a root mounted from a disk: one that names it, or its own line (`listed`), then another.

    Each is looked for once: a guest may say the one ten thousand times and never the other.
    """

    direct: re.Pattern[str]
    listed: re.Pattern[str]
    silent: re.Pattern[str]

    def search(self, text: str) -> re.Match[str] | None:
        """The first that tell it."""
        if found := self.direct.search(text):
            return found
        listed = self.listed.search(text)
        return listed if listed and self.silent.search(text, listed.end()) else None


def mounted_pattern(name: str) -> RootWords:
    """The words for that disk. LVM, arrays and old kernels name none: then its own line must have come before."""
    done = r"[^\n]{0,200}(?:mounted|clean mount|recovery complete)[^\n]*"
    direct = (
        rf"(?:EXT[234]-fs|XFS|REISERFS)[^\n]{{0,60}}\({name}\d*\){done}|BTRFS[^\n]{{0,60}}\(device {name}\d*\)[^\n]*"
    )
    listed = rf"\b{name}: {name}\d|\[{name}\] \d+ \d+-byte"
    above = rf"(?:EXT[34]-fs|XFS)[^\n]{{0,60}}\((?:dm-|md)\d+\){done}|BTRFS[^\n]{{0,60}}\(device (?:dm-|md)\d+\)[^\n]*"
    silent = rf"(?:{above}|(?:EXT[34]-fs: mounted|VFS: Mounted root|[Bb]trfs: disk space caching)[^\n]*)"
    return RootWords(re.compile(direct), re.compile(listed), re.compile(silent))
