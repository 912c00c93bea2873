"""The disks' names, matched exactly: /dev/hda3 is the disk's; /dev/hdab, LABEL=SWAP-hda2, hda alone are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

Edit = Callable[[str, "Disks"], str]
XEN_CONSOLE = re.compile(
    r"[ \t]console=(?:xvc|hvc)\d+[^\s\"']*|(?:(?<=[\"'])|^)console=(?:xvc|hvc)\d+[^\s\"']*[ \t]?", re.MULTILINE
)
LONGER = r"[\w/.:+@-]"  # what would make a name of udev's a longer one
PART = re.compile(r"-part\d+$")  # and behind a partition's number, where cryptdevice= has a colon
NUMBER = r"[\w/.-]"
RAW = re.compile(r"[ \t\n\\]")  # what a field has in octal only
OCTAL = re.compile(r"\\([0-3][0-7]{2})")  # getmntent(3)
# The kernel takes a root by its device's number, too: 803 and 0x0803 in hex, 8:3; LILO and SYSLINUX menus have it so.
NUMBERED = re.compile(
    r"(?<![\w./-])((?:(?:real_)?root|resume)=[\"']?)(?:(?:0[xX])?([0-9a-fA-F]{3,4})|(\d{1,3}):(\d{1,3}))(?![\w:/.-])"
)
BY_UUID = "/dev/disk/by-uuid/"
ESCAPED = re.compile(r"\\x([0-9a-f]{2})|-")
SPECIAL = re.compile(r"[^\w:.]|(?<=/)\.|^\.", re.ASCII)
MAJORS = {3: ("hd", "a", 64), 8: ("sd", "a", 16), 22: ("hd", "c", 64), 33: ("hd", "e", 64), 202: ("xvd", "a", 16)}
UNIT = re.compile(r"(?<![\w\\:.-])(dev-(?:[\w:.-]|\\x[0-9a-f]{2})+)(?=\.(?:device|swap)\b)")


def _named(lettered: str) -> re.Pattern[str]:
    """A disk or a partition; the group is the disk. Behind a digit a p stands in front of a partition's number."""
    numbered = r"nvme\d{1,2}n\d{1,2}|(?:cciss|ida|rd)/c\d{1,2}d\d{1,2}|mmcblk\d"
    return re.compile(rf"/dev/((?:{lettered})[a-z](?=\d*(?!{NUMBER}))|(?:{numbered})(?=(?:p\d+)?(?!{NUMBER})))p?\d*")


NAMED = _named("hd|sd|xvd|vd")
OLD = _named("hd|sd|xvd")  # those that are not virtio's


def partition(disk: str, number: str) -> str:
    """A partition's name: sda and 3 is sda3, nvme0n1 and 3 is nvme0n1p3."""
    return f"{disk}{'p' if number and disk[-1].isdigit() else ''}{number}"


def of_number(found: re.Match[str]) -> tuple[str, str]:
    """(disk, partition) of a device's number in a kernel's arguments; empty where it is none of a disk's."""
    if found[2]:
        major, minor = divmod(int(found[2], 16), 256)
    else:
        major, minor = int(found[3]), int(found[4])
    return numbered(major, minor)


def numbered(major: int, minor: int) -> tuple[str, str]:
    """(disk, partition) by a device's number; empty where it is none of a disk's."""
    family, first, each = MAJORS.get(major, ("", "a", 256))
    place, number = divmod(minor, each)
    return (f"{family}{chr(ord(first) + place)}" if family else "", str(number or ""))


@dataclass(frozen=True)
class Disks:
    """Names without /dev/, such as hda and vda.

    more: further disks, old name and new. stable: names that a bus is part of (/dev/disk/by-id/ata-...), and what
    names the same partition on any bus.
    """

    old: str
    new: str
    more: tuple[tuple[str, str], ...] = ()
    stable: dict[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def names(self) -> dict[str, str]:
        """Every disk's new name by its old one."""
        return {self.old: self.new, **dict(self.more)}

    @cached_property
    def device(self) -> re.Pattern[str]:
        """An old disk, or a partition of it and its number, not as part of a longer name or path."""
        wanted = "|".join(
            re.escape(name) + (r"(?!\d)(?:p(?=\d))?" if name[-1].isdigit() else "") for name in self.names
        )
        return re.compile(rf"(?<![\w/.-])(?<!LABEL=)/dev/(?P<disk>{wanted})(?P<number>\d*)(?![\w/.-])")

    def _new(self, found: re.Match[str]) -> str:
        disk = found["disk"]  # hdp's p is its letter, nvme0n1p's stands in front of a number
        return f"/dev/{self.names[disk if disk in self.names else disk.removesuffix('p')]}{found['number']}"

    @cached_property
    def by_bus(self) -> re.Pattern[str] | None:
        """A name that a bus is part of."""
        if not self.stable:
            return None
        named = sorted(self.stable, key=len, reverse=True)
        wanted = "|".join(rf"{re.escape(name)}(?!{NUMBER if PART.search(name) else LONGER})" for name in named)
        return re.compile(rf"(?<![\w/.-])(?:{wanted})")

    def named_in(self, text: str) -> bool:
        """Whether text names an old disk."""
        return self.device.search(text) is not None or (self.by_bus is not None and bool(self.by_bus.search(text)))

    def renamed(self, text: str) -> str:
        """Every naming of an old disk in text, with the new name."""
        text = self.device.sub(self._new, text)
        return self.by_bus.sub(lambda found: self.stable[found.group()], text) if self.by_bus else text

    def paths(self, text: str) -> str:
        """As `renamed`, for what opens a path and knows no UUID=."""
        text = self.device.sub(self._new, text)
        return self.by_bus.sub(lambda found: self.node(found.group()), text) if self.by_bus else text

    def node(self, name: str) -> str:
        """A name that a bus is part of, as the device of its partition, else as udev's link by what it holds."""
        lasting = self.stable.get(name, name)
        stem, _, number = name.rpartition("-part")
        disk = self.stable.get(stem, "" if self.more else f"/dev/{self.new}")
        if lasting.startswith("UUID=") and number.isdigit() and disk.startswith("/dev/"):
            return partition(disk, number)
        return lasting.replace("UUID=", BY_UUID, 1)

    def booted(self, line: str) -> str:
        """A kernel's arguments with the new names, and without consoles that only Xen has."""
        line = self.numbered(self.renamed(line))
        return XEN_CONSOLE.sub("", line) if self.old.startswith("xvd") else line

    def numbered(self, arguments: str) -> str:
        """A kernel's arguments without the old disk's number."""
        return NUMBERED.sub(self._by_number, arguments)

    def _by_number(self, found: re.Match[str]) -> str:
        disk, number = of_number(found)  # the new disk's is another on each machine: its name is not
        return f"{found[1]}/dev/{self.names[disk]}{number}" if disk in self.names else found.group()

    def units(self, text: str) -> str:
        """systemd's units of an old disk, such as dev-sda2.device, with the new name."""
        return UNIT.sub(lambda found: self.unit(found[1]), text)

    def unit(self, name: str) -> str:
        """A unit's name without its ending, renamed where it is an old disk's: dev-sda2 is /dev/sda2."""
        device = unescaped(name)
        made = self.whole(device)
        return name if made == device else escaped(made.replace("UUID=", BY_UUID, 1))

    def spec(self, word: str) -> str:
        """A table's field as `whole` has it, in quotes and with octal escapes too; several disks have colons between.

        What does not change stays as it is written.
        """
        quote, plain = unwrapped(word)
        several = re.split(r":(?=/dev/)", plain) if plain.startswith("/dev/") else [plain]
        made = ":".join(map(self.whole, several))
        written = RAW.sub(lambda found: f"\\{ord(found[0]):03o}", made)
        return word if made == plain else f"{quote}{written}{quote}"

    def whole(self, word: str) -> str:
        """A word that is a disk or a partition, renamed; any other word as it is."""
        if word in self.stable:
            return self.stable[word]
        found = self.device.fullmatch(word)
        return self._new(found) if found else word


def unescaped(name: str) -> str:
    """The path that a unit's name means (systemd.unit(5))."""
    return "/" + ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "/", name)


def escaped(path: str) -> str:
    """The name of a path's unit."""
    return SPECIAL.sub(lambda found: "-" if found[0] == "/" else f"\\x{ord(found[0]):02x}", path.strip("/"))


def unwrapped(word: str) -> tuple[str, str]:
    """(its quotes, what is in them with octal escapes undone) of a table's field."""
    quote = word[:1] if len(word) > 1 and word[:1] in "\"'" and word[:1] == word[-1:] else ""
    return quote, OCTAL.sub(lambda found: chr(int(found[1], 8)), word[1:-1] if quote else word)


def device_of(word: str) -> str:
    """A table's field that is a device, as its path; any other as it is written."""
    plain = unwrapped(word)[1]
    return plain if plain.startswith("/dev/") else word


def split(text: str) -> list[str]:
    """Lines with their endings, broken at line feeds only: a carriage return stays with its line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def joined(text: str) -> list[str]:
    """Lines, each with those that it goes on over by a backslash at its end."""
    found: list[list[str]] = []
    goes_on = False
    for line in split(text):
        if goes_on:
            found[-1].append(line)
        else:
            found.append([line])
        goes_on = line.endswith("\\\n") and (len(found[-1]) > 1 or not comment(line))
    return ["".join(lines) for lines in found]


def comment(line: str) -> bool:
    """Whether a line is empty or a comment."""
    return line.strip() == "" or line.lstrip().startswith("#")
