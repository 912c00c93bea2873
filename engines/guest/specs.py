"""What a guest's own names for its file systems mean on the disk that lies before us."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from engines.job.errors import Refused

DISK = re.compile(
    r"/dev/(?:(?:hd|sd|vd|xvd)([a-z])(\d*)"
    r"|(?:nvme(\d{1,2})n1|(?:cciss|ida|rd)/c\d{1,2}d(\d{1,2})|mmcblk(\d))(?:p(\d+))?)$"
)
FAMILIES = "aA\u0391"  # the first letter of each: disks of a bus, NVMe and HP's controllers, cards of memory
DISKS = "abcdefghijklmnopqrstuvwxyz"  # the appliance's
NEEDED = ("/", "/boot", "/boot/efi", "/usr", "/var")
PLUGGED = re.compile(r"/(?:media|mnt|run/media)(?:/|$)")
LATER = frozenset({"noauto", "nofail", "user", "users"})
EXT = {"ext2", "ext3", "ext4"}
NO_TYPES: Mapping[str, str] = MappingProxyType({})
TAGGED = re.compile(r"/dev/disk/by-(label|uuid|partlabel|partuuid)/(.+)")
NUMBERED = re.compile(r"/dev/disk/by-(?:id|path)/(?P<stem>.+?)(?:-part(?P<part>\d+))?$")
ABOVE = re.compile(r"(?:dm|md|lvm)-")  # names of what lies above disks, which no change of a bus touches
ENTRY = {"PARTUUID": "PART_ENTRY_UUID", "PARTLABEL": "PART_ENTRY_NAME"}

Call = Callable[..., Any]


def resolve(call: Call, types: dict[str, str], spec: str, letters: str = "", disk: str = "/dev/sda") -> str | None:
    """The appliance's device for an fstab spec, among the devices of `types`; None where it is on no disk here.

    letters: of the guest's disks in the order of the appliance's; a letter that is none of them means no disk here,
    but without any each means `disk`, which a name by serial number or by place means always. Raises Refused for a
    letter that stands behind the last disk that the appliance has a name for.
    """
    spec = unmangled(spec)
    if found := TAGGED.fullmatch(spec):
        spec = f"{found.group(1).upper()}={plain(found.group(2))}"
    name, _, value = spec.partition("=")
    value = value.strip("\"'")
    if name in ("LABEL", "UUID"):
        return _tagged(call, types, value) if name == "LABEL" else _unique(call, types, value)
    if name in ENTRY:
        return next((each for each in types if _entry(call, each, ENTRY[name]).lower() == value.lower()), None)
    if found := NUMBERED.fullmatch(spec):
        return _there(types, f"{disk}{found.group('part') or ''}")
    if named := _disk(spec):
        letter, part = named
        if letters and letter not in letters:
            return None
        meant = _nth(letters.index(letter), spec) if letters else disk
        return _there(types, f"{meant}{part}")
    if spec.startswith("/dev/md"):
        arrays = [each for each in types if each.startswith("/dev/md")]
        return spec if spec in arrays else arrays[0] if len(arrays) == 1 else None
    if spec.startswith("/dev/mapper/"):
        group, _, volume = spec.removeprefix("/dev/mapper/").replace("--", "\0").partition("-")
        spec = f"/dev/{group}/{volume}".replace("\0", "-")
    return _there(types, spec)


def _nth(number: int, spec: str) -> str:
    if number >= len(DISKS):
        raise Refused(
            f"the guest's fstab names more than {len(DISKS)} disks, {spec} among them",
            "put a # in front of its rows of disks that are not given, then try again",
        )
    return f"/dev/sd{DISKS[number]}"


def _disk(spec: str) -> tuple[str, str] | None:
    """(letter, partition's number) of a disk's name; the first of its family has that one's letter, and so on."""
    found = DISK.match(spec)
    if found is None or found.group(1):
        return (found.group(1), found.group(2)) if found else None
    number = int(found.group(3) or found.group(4) or found.group(5) or 0)
    first = FAMILIES[2 if found.group(5) else 1]
    return chr(ord(first) + min(number, 25)), found.group(6) or ""


def _there(types: Iterable[str], device: str) -> str | None:
    return device if device in types else None


def _tagged(call: Call, types: dict[str, str], value: str) -> str | None:
    return next((each for each in _asked(types) if call("vfs_label", each) == value), None)


def _unique(call: Call, types: dict[str, str], value: str) -> str | None:
    """UUIDs are written in either case."""
    return next((each for each in _asked(types) if str(call("vfs_uuid", each)).lower() == value.lower()), None)


def _asked(types: dict[str, str]) -> list[str]:
    return [each for each, kind in types.items() if kind and each.startswith("/dev/")]


def _entry(call: Call, device: str, key: str) -> str:
    if not re.fullmatch(r"/dev/sd[a-z]\d+", device):
        return ""
    found: dict[str, str] = call("blkid", device)
    return found.get(key, "")


def unmangled(word: str) -> str:
    """A field of an fstab with its octal escapes undone: \\040 is a space (getmntent(3))."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda found: chr(int(found.group(1), 8)), word)


def plain(name: str) -> str:
    """A name as udev writes it, with what it escapes undone."""
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found.group(1), 16)), name)


def letters(fstab: Iterable[list[str]], root: str, types: Mapping[str, str] = NO_TYPES) -> str:
    """Letters of the disks that rows of an fstab name, that of the root first; CD drives are left out.

    Where the root is named by what it holds, the first disk of that family comes first whose rows fit this disk's
    partitions (`types`, by device; any where there are none) and are needed by the system.
    """
    rows = [row for row in fstab if _disk(row[0]) and not set(row[2].split(",")) & {"iso9660", "udf", "auto"}]
    named = [found[0] for row in rows if (found := _disk(row[0]))]
    first = found[0] if (found := _disk(root)) else min(FAMILIES, key=lambda each: _worth(each, rows, types))
    return "".join(dict.fromkeys([first, *sorted(named)]))


def _worth(first: str, rows: list[list[str]], types: Mapping[str, str]) -> tuple[bool, ...]:
    """How little speaks for a family's first disk being the one that lies before us; False comes first."""
    fitting, others = [], False
    for row in rows:
        letter, part = _disk(row[0]) or ("", "")
        there = types.get(f"/dev/sda{part}") if types else row[2]
        if letter == first and (there == row[2] or {there, row[2]} <= EXT):
            fitting.append(row)
        others = others or first <= letter < chr(ord(first) + len(DISKS))
    lasting = [row for row in fitting if not PLUGGED.match(row[1]) and not LATER & set(",".join(row[3:4]).split(","))]
    needed = [row for row in fitting if row[1] == "swap" or row[2] == "swap" or (row[1].rstrip("/") or "/") in NEEDED]
    return not needed, not lasting, not fitting, not others
