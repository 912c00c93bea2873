"""What the guest calls its disk: found from its own files, with every name that a bus is part of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.guest import specs
from engines.guest.appliance import GuestError
from engines.virtio.inventory import GuestInventory
from engines.virtio.lines.disks import Disks, comment, split

NAMED = re.compile(r"/dev/((?:hd|sd|xvd)[a-z])\d*(?![\w/.-])")
BY_BUS = re.compile(r"/dev/disk/by-(?:id|path|label|partlabel|partuuid)/[^\s\"',;|()\[\]^*?$]++(?!\$)")
ROOT = re.compile(r"\broot=(/dev/\S+)")
REMOVABLE = ("iso9660", "udf", "udf,iso9660", "auto", "vfat,msdos")
NOTHING_NAMED = "sda"  # where all is named by UUID there is nothing to rename
FIELDS = 3  # of an fstab row that says what is mounted where as what


@dataclass(frozen=True)
class Naming:
    """The names a conversion maps. where: which file told the name. foreign: names of disks that are not given."""

    disks: Disks
    where: str
    foreign: tuple[str, ...]


def of(patient: GuestInventory, old: str, new: str, also: int = 0) -> Naming:
    """The disk's name is `old`, or found where that is empty. also: how many further disks are given."""
    found, where = (old, "as given") if old else disk(patient)
    stable, foreign = _stable(patient, new)
    others = sorted({name for _, name in _names(patient)} - {found})
    others = [name for name in others if not _removable(patient, name)]
    more = [(name, f"{new[:2]}{chr(ord(new[2]) + 1 + at)}") for at, name in enumerate(others[:also])]
    foreign += [f"/dev/{name}" for name in others[also:]]
    return Naming(Disks(found, new, tuple(more), stable), where, tuple(foreign))


def disk(patient: GuestInventory) -> tuple[str, str]:
    """(its name, the file that tells it): what holds the root, else what fstab, menu and device map name first."""
    for line in patient.loader.entry.lines:
        if (root := ROOT.search(line)) and (found := NAMED.fullmatch(root.group(1))):
            return found.group(1), f"the root in {patient.loader.path}"
    for where, name in _names(patient):
        if not _removable(patient, name):
            return name, where
    return NOTHING_NAMED, "no file names a disk"


def _names(patient: GuestInventory) -> Iterator[tuple[str, str]]:
    """(file, disk) of every naming in the files that decide a boot."""
    for spec, _, kind in rows(patient):
        if (found := NAMED.fullmatch(spec)) and kind not in REMOVABLE:
            yield "/etc/fstab", found.group(1)
    texts = {patient.loader.path: patient.loader.text, **patient.loader.snippets}
    folder = patient.loader.path.rsplit("/", 1)[0]
    for path in ("/etc/crypttab", "/etc/sysconfig/grub", "/etc/default/grub", f"{folder}/device.map"):
        texts[path] = (patient.system.read(path) or b"").decode("latin-1")
    for path, text in texts.items():
        for line in split(text):
            if not comment(line):
                yield from ((path, name) for name in NAMED.findall(line))


def _removable(patient: GuestInventory, name: str) -> bool:
    """Whether fstab knows a disk as a CD drive only."""
    kinds = {kind for spec, _, kind in rows(patient) if (found := NAMED.fullmatch(spec)) and found.group(1) == name}
    return bool(kinds) and kinds <= set(REMOVABLE)


def rows(patient: GuestInventory) -> list[tuple[str, str, str]]:
    """(spec, mount point, type) of fstab."""
    text = (patient.system.read("/etc/fstab") or b"").decode("latin-1")
    found = [line.split() for line in split(text) if not comment(line)]
    return [(row[0], row[1], row[2]) for row in found if len(row) >= FIELDS]


# ── names that a bus is part of ─────────────────────────────────────────────────────────────────────


def _stable(patient: GuestInventory, new: str) -> tuple[dict[str, str], list[str]]:
    """What names the same on any bus, by name; and the names that are of a disk which is not given."""
    found: dict[str, str] = {}
    foreign: list[str] = []
    names = sorted(set(_by_bus(patient)))
    strangers = {stem for stem in {_stem(name) for name in names} if stem and not _ours(patient, stem)}
    for name in names:
        numbered = specs.NUMBERED.fullmatch(name)
        if numbered and (specs.ABOVE.match(numbered["stem"]) or numbered["stem"].startswith("virtio-")):
            continue
        if _stem(name) in strangers:
            foreign.append(name)
        elif numbered and not numbered["part"]:
            found[name] = f"/dev/{new}"
        elif device := specs.resolve(patient.system.call, patient.system.types, name):
            found[name] = lasting(patient, device) or device.replace("/dev/sda", f"/dev/{new}")
        else:
            foreign.append(name)
    return found, foreign


def _by_bus(patient: GuestInventory) -> Iterator[str]:
    for path, content in patient.system.etc.items():
        if not path.startswith(("/etc/udev/", "/etc/lvm/", "/etc/multipath")) and b"/dev/disk/by-" in content:
            for line in split(content.decode("latin-1")):
                if not comment(line):
                    yield from BY_BUS.findall(line)
    folder = patient.loader.path.rsplit("/", 1)[0]
    mapped = (patient.system.read(f"{folder}/device.map") or b"").decode("latin-1")
    for text in (patient.loader.text, mapped, *patient.loader.snippets.values()):
        yield from BY_BUS.findall(text)


def _stem(name: str) -> str:
    numbered = specs.NUMBERED.fullmatch(name)
    return numbered["stem"] if numbered and not specs.ABOVE.match(numbered["stem"]) else ""


def _ours(patient: GuestInventory, stem: str) -> bool:
    """Whether each partition that fstab names by that serial number or place is on this disk, and of that type."""
    for spec, _, kind in rows(patient):
        numbered = specs.NUMBERED.fullmatch(spec)
        if not numbered or numbered["stem"] != stem or not numbered["part"]:
            continue
        there = patient.system.types.get(f"/dev/sda{numbered['part']}")
        known = {"ext2", "ext3", "ext4"}
        if there is None or (there and kind != "auto" and kind != there and not {kind, there} <= known):
            return False
    return True


def lasting(patient: GuestInventory, device: str) -> str:
    """UUID=... of what a device holds, or its path where SUSE's old initrd reads that only; empty where it has none."""
    try:
        uuid = str(patient.system.call("vfs_uuid", device))
    except GuestError:
        return ""
    if not uuid:
        return ""
    return f"/dev/disk/by-uuid/{uuid}" if patient.tool.kind == "suse" else f"UUID={uuid}"
