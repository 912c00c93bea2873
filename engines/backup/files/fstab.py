"""What a guest's fstab says, and which volume of the disk each line means.

Sources: fstab(5), mount(8), systemd's and udev's names below /dev/disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engines.backup.files.model import VolumeInfo

DISK = re.compile(r"/dev/(?:[a-z]*[hsv]d[a-z]+|(?:nvme\d+n|mmcblk|nbd)\d+(?=p))p?(\d+)$")
BY_DISK = re.compile(r"/dev/disk/by-(id|path)/((\w+)-.*?|.*?)-part(\d+)$")


@dataclass(frozen=True)
class Row:
    """A line of fstab."""

    spec: str
    point: bytes
    format: str
    options: dict[str, str]


def rows(raw: bytes) -> Iterator[Row]:
    """Of a file, those that mount something below the root; quotes and octal escapes undone."""
    for line in raw.split(b"\n"):
        words = line.split()  # of bytes: by the white space of ASCII only, as mount does
        if len(words) < 2 or words[0].startswith(b"#"):
            continue
        spec, point, format_, options = (*words, b"auto", b"defaults")[:4] if len(words) < 4 else words[:4]
        if not point.startswith(b"/"):
            continue
        spec, point, options = (
            re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 0xFF]), word)
            for word in (spec, point, options)
        )
        pairs = (each.partition("=") for each in _text(options).split(","))
        plain = re.sub(r"(?<==)\"(.*)\"$|^\"(.*)\"$", r"\1\2", _text(spec))
        folder = b"".join(b"/" + each for each in point.split(b"/") if each not in (b"", b"."))
        yield Row(plain, folder, _text(format_), {name: value for name, _, value in pairs})


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


FAMILIES = (
    {"ext2", "ext3", "ext4"},
    {"vfat", "msdos", "fat"},
    {"ntfs", "ntfs3", "ntfs-3g", "lowntfs-3g", "fuseblk"},
)


def fits(row: Row, info: VolumeInfo) -> bool:
    """Whether a line that names a disk's place may mean a volume: one of another format is on another disk."""
    if not (identity(row.spec) or DISK.match(row.spec)) or info.format in ("", "empty"):
        return True
    said = set(row.format.split(","))
    family = next((family for family in FAMILIES if info.format in family), {info.format})
    return "auto" in said or bool(said & family)


def subvolume(row: Row) -> bytes | None:
    """The folder that subvol= names; None where it does not."""
    named = row.options.get("subvol", "")
    return (b"/" + named.strip("/").encode("utf-8", "surrogateescape")).rstrip(b"/") if named else None


def beneath(row: Row) -> bytes:
    """The folder within it that alone is mounted; mount(8), X-mount.subdir."""
    named = row.options.get("X-mount.subdir", "").strip("/")
    return b"/" + named.encode("utf-8", "surrogateescape") if named else b""


def named(spec: str, known: list[VolumeInfo], disk: str) -> VolumeInfo | None:
    """The volume that the first field of a line means, as far as this disk has it."""
    tag, equals, value = spec.partition("=")
    if not equals and (place := re.match(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)$", spec)):
        tag, equals, value = place[1].upper(), "=", _unescaped(place[2])
    if equals and tag.upper() != "ID":
        return _tagged(tag.upper(), value, known)
    if own := identity(spec):
        return _first(each for each in known if each.name == f"p{own.part}") if _beside(own, disk) else None
    if found := re.match(r"/dev/disk/by-id/md-(?:name-(?:[^:]*:)?|uuid-)(.+)$", spec):
        return _array(found[1], known)
    if found := re.match(r"/dev/(?:mapper/|disk/by-id/dm-name-)(.+)$", spec):
        return _first(each for each in known if found[1] in (each.name, each.name.replace("-", "--"))
                      or each.name == found[1].replace("--", "-"))  # fmt: skip
    if found := re.match(r"/dev/md(?:/|(?=\d))(.+)$", spec):
        return _array(found[1], known)
    if found := DISK.match(spec):
        return _first(each for each in known if each.name == f"p{found[1]}") if _own(spec, disk) else None
    if found := re.match(r"/dev/([^/]+)/([^/]+)$", spec):
        return _first(each for each in known if each.name == f"{found[1]}-{found[2]}")
    return None


def _array(name: str, known: list[VolumeInfo]) -> VolumeInfo | None:
    arrays = [each for each in known if re.match(r"md\d", each.name)]
    same = [each for each in arrays if each.name in (f"md{name}", name)]
    return _first(iter(same or (arrays if len(arrays) == 1 else [])))


def _own(spec: str, disk: str) -> bool:
    """Whether a kernel's name means this disk: the root's own, else the first of its kind."""
    if DISK.match(disk):
        return re.sub(r"p?\d+$", "", spec) == re.sub(r"p?\d+$", "", disk)
    return bool(re.match(r"/dev/(?:xv|[hsv])da\d|/dev/nvme0n1p|/dev/mmcblk0p", spec))


@dataclass(frozen=True)
class Identity:
    """A disk by a name of its own: `kind` is the way of naming, of which a disk has several; `part` a partition."""

    kind: str
    disk: str
    part: str


def identity(spec: str) -> Identity | None:
    """What a partition's name by its disk's identity says; udev gives a disk one name of each kind."""
    found = BY_DISK.match(re.sub("^ID=", "/dev/disk/by-id/", spec))
    if not found:
        return None
    by, disk, kind, part = found[1], found[2], found[3] or "", found[4]
    if by == "path":
        return Identity(f"path {kind}", re.sub(r"-ata-(\d+)\.0$", r"-ata-\1", disk), part)
    if number := re.match(r"(?:scsi-3|wwn-0x)([0-9a-f]+)$", disk):
        return Identity("wwn", number[1], part)
    if form := re.match(r"scsi-[0-9S]|nvme-(?:eui|uuid|nvme)\.", disk):
        return Identity(form[0], disk, part)
    return Identity(kind, disk, part)


def _beside(own: Identity, disk: str) -> bool:
    """Whether a name by a disk's identity may be this disk's: one of the same kind that the root has tells."""
    root = identity(disk)
    if root is None or own.kind != root.kind or own.disk == root.disk:
        return True
    short, long = sorted((own.disk, root.disk), key=len)  # udev of 2023 and later names the namespace, too
    return own.kind == "nvme" and re.fullmatch(r"_\d+", long.removeprefix(short)) is not None


def unsure(rows: Iterable[Row], disk: str) -> set[str]:
    """Specs by identities that must be of several disks, of which `disk`, the root's own spec, tells none.

    Those are several names of one kind, or of one partition that two places mount as a whole.
    """
    names: dict[str, dict[str, list[str]]] = {}
    parts: dict[str, dict[str, list[str]]] = {}
    root = identity(disk)
    for row in rows:
        if not (found := identity(row.spec)):
            continue
        if root is None or found.kind != root.kind:
            names.setdefault(found.kind, {}).setdefault(found.disk, []).append(row.spec)
        if not row.options.keys() & {"subvol", "subvolid", "bind", "rbind", "X-mount.subdir"}:
            parts.setdefault(found.part, {}).setdefault(found.kind, []).append(row.spec)
    several = [specs for disks in names.values() if len(disks) > 1 for specs in disks.values()]
    for kinds in parts.values():
        if len(kinds) > 1:
            several += [specs for kind, specs in kinds.items() if root is None or kind != root.kind]
    return {spec for specs in several for spec in specs}


def _first(each: Iterator[VolumeInfo]) -> VolumeInfo | None:
    return next(each, None)


def _tagged(tag: str, value: str, known: list[VolumeInfo]) -> VolumeInfo | None:
    plain = value.replace("-", "").casefold()
    match tag:
        case "UUID":
            return _first(each for each in known if each.uuid and each.uuid.replace("-", "").casefold() == plain)
        case "LABEL":
            exact = _first(each for each in known if each.label == value != "")
            return exact or _first(each for each in known if each.label == _unescaped(value) != "")
        case "PARTUUID":
            return _first(each for each in known if each.partuuid.casefold() == value.casefold() != "")
        case "PARTLABEL":
            return _first(each for each in known if each.partlabel == value != "")
    return None


def _unescaped(name: str) -> str:
    """udev writes odd characters of a label as \\xNN."""
    raw = re.sub(
        rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), name.encode("utf-8", "surrogateescape")
    )
    return raw.decode("utf-8", "replace")
