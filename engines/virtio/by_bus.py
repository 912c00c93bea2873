"""Names that a bus is part of (by-id, by-path): whose disk each is, and what names the same on any bus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from engines.guest import specs
from engines.guest.appliance import GuestError
from engines.virtio.inventory import GuestInventory
from engines.virtio.lines.disks import NUMBERED, comment, device_of, of_number, partition, split
from engines.virtio.lines.tools import installed_to

NAME = re.compile(
    r"/dev/disk/by-(?:id|path)/[^\s\"',;|()\[\]^*?$]+?-part\d+(?![\w.$-])"
    r"|/dev/disk/by-(?:id|path|label|partlabel|partuuid)/[^\s\"',;|()\[\]^*?$]++(?!\$)"
)
ROOT = re.compile(r"\b(?:real_)?root=[\"']?(?:block:)?(/dev/[^\s\"',]+)")
REMOVABLE = frozenset({"iso9660", "udf", "udf,iso9660", "auto", "vfat,msdos"})
CARRIED = re.compile(r"/dev/disk/by-(?:id/(?:usb|ieee1394|memstick|mmc)-|path/.*-(?:usb|ieee1394)-)")
CLASS = re.compile(r"/dev/disk/(by-path/|by-id/(?:scsi-[0-9S]|[a-z0-9]+[-.]))")
KNOWN = {"ext2", "ext3", "ext4"}
FIELDS = 3  # of an fstab row that says what is mounted where as what
LASTING = ("UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "/dev/disk/by-uuid/")
DEBCONF = "/var/cache/debconf/config.dat"

Row = tuple[str, str, str]


def roots(lines: Iterable[str]) -> Iterator[str]:
    """The devices that a kernel's lines name as its root, that of genkernel's real_root too, each by its path."""
    for line in lines:
        for found in ROOT.finditer(line):
            yield found.group(1)
        for found in NUMBERED.finditer(line):
            if found[1].startswith("root=") and (disk := of_number(found))[0]:
                yield f"/dev/{partition(*disk)}"


def rows(patient: GuestInventory) -> list[Row]:
    """(spec, mount point, type) of fstab."""
    text = (patient.system.read("/etc/fstab") or b"").decode("latin-1")
    found = [line.split() for line in split(text) if not comment(line)]
    return [(device_of(row[0]), row[1], row[2]) for row in found if len(row) >= FIELDS]


def stable(patient: GuestInventory, disks: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """What names the same on any bus, by name; and the names that are of a disk which is not given.

    disks: the new name of each disk that is given, by the appliance's, the root's first: sda vda, sdb vdb.
    """
    found: dict[str, str] = {}
    foreign: list[str] = []
    names = sorted(set(_named(patient)))
    owners = _owners(patient, names, list(disks))
    for name in names:
        numbered = specs.NUMBERED.fullmatch(name)
        if numbered and (specs.ABOVE.match(numbered["stem"]) or numbered["stem"].startswith("virtio-")):
            continue
        owner = owners.get(_stem(name)) if numbered else next(iter(disks))
        if owner is None:
            foreign += [] if _disc(patient, name) else [name]
        elif numbered and not numbered["part"]:
            found[name] = f"/dev/{disks[owner]}"
        elif device := specs.resolve(patient.system.call, patient.system.types, name, disk=f"/dev/{owner}"):
            found[name] = lasting(patient, device) or device.replace(f"/dev/{owner}", f"/dev/{disks[owner]}")
        elif not _disc(patient, name):
            foreign.append(name)
    return found, foreign


def absent(patient: GuestInventory, disks: Iterable[str]) -> list[str]:
    """Lasting names of fstab that are on no disk here: a boot would wait for them."""
    call = _asking(patient)
    there = {**patient.system.types, **{f"/dev/{disk}": "any" for disk in disks}}  # a disk may have no partitions
    return [
        spec for spec, _, _ in rows(patient) if spec.startswith(LASTING) and specs.resolve(call, there, spec) is None
    ]


def _asking(patient: GuestInventory) -> specs.Call:
    """Asks the appliance each thing once; a device that does not answer has no name."""
    known: dict[tuple[Any, ...], Any] = {}

    def call(*asked: Any) -> Any:
        if asked not in known:
            try:
                known[asked] = patient.system.call(*asked)
            except GuestError:
                known[asked] = {} if asked[0] == "blkid" else ""
        return known[asked]

    return call


def lasting(patient: GuestInventory, device: str) -> str:
    """UUID=... of what a device holds, or its path where SUSE's old initrd reads that only; empty where it has none."""
    try:
        uuid = str(patient.system.call("vfs_uuid", device))
    except GuestError:
        return ""
    if not uuid:
        return ""
    return f"/dev/disk/by-uuid/{uuid}" if patient.tool.kind == "suse" else f"UUID={uuid}"


# ── where they stand ────────────────────────────────────────────────────────────────────────────────


def _named(patient: GuestInventory) -> Iterator[str]:
    for path, content in patient.system.etc.items():
        if not path.startswith(("/etc/udev/", "/etc/lvm/", "/etc/multipath")) and b"/dev/disk/by-" in content:
            for line in split(content.decode("latin-1")):
                if not comment(line):
                    yield from NAME.findall(line)
    for text in (patient.loader.text, _mapped(patient), *patient.loader.snippets.values()):
        yield from NAME.findall(text)
    for device in _installed(patient):
        yield from NAME.findall(device)


def _mapped(patient: GuestInventory) -> str:
    folder = patient.loader.path.rsplit("/", 1)[0]
    return (patient.system.read(f"{folder}/device.map") or b"").decode("latin-1")


def _installed(patient: GuestInventory) -> list[str]:
    return installed_to((patient.system.read(DEBCONF) or b"").decode("latin-1"))


def _disc(patient: GuestInventory, name: str) -> bool:
    kinds = {kind for spec, _, kind in rows(patient) if spec == name}
    return bool(kinds) and kinds <= REMOVABLE - {"auto"}


# ── whose they are ──────────────────────────────────────────────────────────────────────────────────


def _stem(name: str) -> str:
    numbered = specs.NUMBERED.fullmatch(name)
    return numbered["stem"] if numbered and not specs.ABOVE.match(numbered["stem"]) else ""


def _owners(patient: GuestInventory, names: Iterable[str], disks: list[str]) -> dict[str, str | None]:
    """The disk of each stem; None for one that is not given.

    A class of names (ata-, scsi-S, by-path) has one for each disk: the root's is the first disk's, another of its
    class is not. Else a disk has to have each partition that fstab names by the stem, of that type and not mounted
    elsewhere by another name.
    """
    owners: dict[str, str | None] = {}
    classes: dict[tuple[str, str], str] = {}  # (class, disk): the stem that has it
    by_stem = {_stem(name): name for name in names if _stem(name)}
    roots = [stem for stem in (_stem(spec) for spec in _roots(patient)) if stem]
    order = sorted(by_stem, key=lambda stem: (stem not in roots, not _mounted(patient, stem), stem))
    kinds = {stem: found.group(1) if (found := CLASS.match(name)) else name for stem, name in by_stem.items()}
    for stem in order:
        name, kind = by_stem[stem], kinds[stem]
        alike = re.sub(r"\.0$", "", stem) if kind == "by-path/" else stem  # ata-1 and ata-1.0 are one place
        fitting = [disk for disk in disks if classes.get((kind, disk), alike) == alike and _fits(patient, stem, disk)]
        first = stem in roots
        lonely = list(kinds.values()).count(kind) == 1
        known = first or lonely or _mounted(patient, stem) or _whole(patient, stem)
        owner = disks[0] if first else fitting[0] if fitting and known and not CARRIED.match(name) else None
        owners[stem] = owner
        if owner is not None:
            classes[kind, owner] = alike
    return owners


def _roots(patient: GuestInventory) -> Iterator[str]:
    yield from (spec for spec, where, _ in rows(patient) if where == "/")
    yield from roots(patient.loader.entry.lines)


def _mounted(patient: GuestInventory, stem: str) -> bool:
    """Whether a partition is named by that stem anywhere that a boot reads."""
    texts = [patient.loader.text, *patient.loader.snippets.values()]
    texts += [(patient.system.read(path) or b"").decode("latin-1") for path in ("/etc/fstab", "/etc/crypttab")]
    texts += [text.decode("latin-1") for path, text in patient.system.etc.items() if "resume" in path]
    return any(f"{stem}-part" in text for text in texts)


def _whole(patient: GuestInventory, stem: str) -> bool:
    """Whether the boot loader is on the whole disk of that name, and on no other."""
    mapped = [line.split() for line in split(_mapped(patient)) if line.lstrip().startswith("(")]
    first = [row[1] for row in mapped if len(row) > 1 and row[0] == "(hd0)"]
    installed = _installed(patient)
    return any(_stem(name) == stem for name in (*first, *(installed if len(installed) == 1 else [])))


def _fits(patient: GuestInventory, stem: str, disk: str) -> bool:
    """Whether each partition that fstab names by that serial number or place is on the disk, and of that type."""
    for spec, where, kind in rows(patient):
        numbered = specs.NUMBERED.fullmatch(spec)
        if not numbered or numbered["stem"] != stem:
            continue
        if not numbered["part"]:
            return False  # a file system in a whole disk, or a CD drive: the disk given has partitions
        if not holds(patient, f"/dev/{disk}{numbered['part']}", where, kind):
            return False
    return True


def holds(patient: GuestInventory, device: str, where: str, kind: str) -> bool:
    """Whether a row of fstab may mean that device: it is there, of that type, and no other row mounts it elsewhere."""
    there = patient.system.types.get(device)
    if there is None or (there and kind != "auto" and kind != there and not {kind, there} <= KNOWN):
        return False
    return not _elsewhere(patient, device, where)


def _elsewhere(patient: GuestInventory, device: str, where: str) -> bool:
    """Whether another row mounts that device at another place."""
    system = patient.system
    others = [
        spec
        for spec, other, _ in rows(patient)
        if other != where and other.startswith("/") and (other == "/" or not specs.NUMBERED.fullmatch(spec))
    ]
    call = _asking(patient)
    return any(specs.resolve(call, system.types, spec, system.letters) == device for spec in others)
