"""What the guest calls its disk: found from its own files, with every name that a bus is part of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.virtio import by_bus
from engines.virtio.by_bus import REMOVABLE, roots, rows
from engines.virtio.inventory import GuestInventory
from engines.virtio.lines.disks import OLD, Disks, comment, split

FIRST = re.compile(r"(?<=nvme)\d+|(?<=d)\d+$|(?<=mmcblk)\d")  # nvme1n1 is not the first, nvme0n1 is
NOTHING_NAMED = "sda"  # where all is named by UUID there is nothing to rename


@dataclass(frozen=True)
class Naming:
    """The names a conversion maps. where: which file told the name. foreign: names of disks that are not given."""

    disks: Disks
    where: str
    foreign: tuple[str, ...]


def of(patient: GuestInventory, old: str, new: str, also: int = 0) -> Naming:
    """The disk's name is `old`, or found where that is empty. also: how many further disks are given."""
    found, where = (old, "as given") if old else disk(patient)
    others = sorted({name for _, name in _names(patient)} - {found})
    others = [name for name in others if not _removable(patient, name)]
    more = [(name, f"{new[:2]}{chr(ord(new[2]) + 1 + at)}") for at, name in enumerate(others[:also])]
    given = {"sda": new, **{f"sd{chr(ord('b') + at)}": f"{new[:2]}{chr(ord(new[2]) + 1 + at)}" for at in range(also)}}
    stable, foreign = by_bus.stable(patient, given)
    foreign += [f"/dev/{name}" for name in others[also:]]
    foreign += by_bus.absent(patient, given)
    return Naming(Disks(found, new, tuple(more), stable), where, tuple(foreign))


def disk(patient: GuestInventory) -> tuple[str, str]:
    """(its name, the file that tells it): what holds the root, else what fstab, menu and device map name first."""
    for root in roots(patient.loader.entry.lines):
        if found := OLD.fullmatch(root):
            return found.group(1), f"the root in {patient.loader.path}"
    named = [(where, name) for where, name in _names(patient) if not _removable(patient, name)]
    for where, name in named:
        if _fits(patient, name):
            return name, where
    if not named:
        return NOTHING_NAMED, "no file names a disk"
    where, name = named[0]
    first = FIRST.sub("0", name) if name[-1].isdigit() else f"{name[:-1]}a"
    return first, f"{name} in {where} is another disk"


def _fits(patient: GuestInventory, name: str) -> bool:
    """Whether the disk that lies before us has anything that fstab mounts by that name, where it mounts any."""
    found = []
    for spec, where, kind in rows(patient):
        if (named := OLD.fullmatch(spec)) and named.group(1) == name:
            number = spec.removeprefix(f"/dev/{name}").removeprefix("p")
            found.append(by_bus.holds(patient, f"/dev/sda{number}", where, kind))
    return any(found) or not found


def _names(patient: GuestInventory) -> Iterator[tuple[str, str]]:
    """(file, disk) of every naming in the files that decide a boot."""
    for spec, _, kind in rows(patient):
        if (found := OLD.fullmatch(spec)) and kind not in REMOVABLE:
            yield "/etc/fstab", found.group(1)
    texts = {patient.loader.path: patient.loader.text, **patient.loader.snippets}
    folder = patient.loader.path.rsplit("/", 1)[0]
    for path in ("/etc/crypttab", "/etc/sysconfig/grub", "/etc/default/grub", f"{folder}/device.map"):
        texts[path] = (patient.system.read(path) or b"").decode("latin-1")
    for path, text in texts.items():
        for line in split(text):
            if not comment(line):
                yield from ((path, name) for name in OLD.findall(line))


def _removable(patient: GuestInventory, name: str) -> bool:
    """Whether fstab knows a disk as a CD drive only."""
    kinds = {kind for spec, _, kind in rows(patient) if (found := OLD.fullmatch(spec)) and found.group(1) == name}
    return bool(kinds) and kinds <= set(REMOVABLE)
