"""Names in a repository: VMs, disks, points and the files that hold them, never a path out of it."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import attrgetter

from engines.job.errors import BadParam, Refused, meant

NAME = r"^[A-Za-z0-9._-]+$"
NEW = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
ALLOWED = "letters, digits, . _ and -, none of . and - at its beginning"
POINT = r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+@([0-9]{8}T[0-9]{6}Z|latest)$"
STAMP = re.compile(
    r"^(19|2[0-9])[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z$"
)
HEX32 = re.compile(r"^[0-9a-f]{32}$")
FORM = "%Y%m%dT%H%M%SZ"
OF_GUEST = "guest-"  # of the tag that says by its UUID whose point it is, whatever it is called
GUEST = "guest"  # what the record of a guest is called among the disks of its VM
LONGEST = 128  # characters of a VM's or disk's name
SHOWN = 5  # names that are told where another was meant


@lru_cache(maxsize=4096)
def good(name: str) -> bool:
    """Whether `name` may be a VM's or disk's: it names a folder entry of its own, never `.` or `..`."""
    return bool(re.match(NAME, name)) and not name.endswith("\n") and name not in (".", "..") and len(name) <= LONGEST


def fit(name: str) -> bool:
    """Whether a new VM or disk may be called so: one that begins like an option or a hidden file may not."""
    return good(name) and bool(re.match(NEW, name))


def stamp(at: float) -> str:
    """Unix time as a point's time, UTC, like 20261122T082300Z."""
    return time.strftime(FORM, time.gmtime(at))


@dataclass(frozen=True, order=True)
class PointName:
    """A restore point: VM, disk, and UTC time or `latest`."""

    vm: str
    disk: str
    time: str

    def __str__(self) -> str:
        return f"{self.vm}/{self.disk}@{self.time}"

    @property
    def moment(self) -> int:
        """Its time as ns since 1970; UTC whatever the machine's zone and its daylight saving."""
        return int(seconds(self.time)) * 10**9

    def path(self, folder: str = "points") -> str:
        """Its file in the repository."""
        return f"{folder}/{self.vm}/{self.disk}/{self.time}.point"


order = attrgetter("vm", "disk", "time")  # what points are sorted by; quicker than to ask each how it compares


def guest_of(tags: Iterable[str]) -> str:
    """The UUID of the guest whose point has such tags; empty where they do not say."""
    return next((tag.removeprefix(OF_GUEST) for tag in tags if tag.startswith(OF_GUEST)), "")


def parse(text: str, param: str = "point") -> PointName:
    """VM/DISK@TIME or VM/DISK@latest. Raises BadParam."""
    if re.match(POINT, text):
        disk, _, when = text.partition("@")
        vm, _, disk = disk.partition("/")
        if good(vm) and good(disk):
            return PointName(vm, disk, when)
    raise BadParam(param, text, "VM/DISK@TIME or VM/DISK@latest", "see the points: crashcart backup list")


def seconds(time_: str) -> float:
    """Unix time of a point's time; the 30th of February, as only a hostile repository has it, is the 2nd of March."""
    day = date(int(time_[:4]), int(time_[4:6]), 1).toordinal() - date(1970, 1, 1).toordinal() + int(time_[6:8]) - 1
    return float(((day * 24 + int(time_[9:11])) * 60 + int(time_[11:13])) * 60 + int(time_[13:15]))


def selected(name: PointName, wanted: str) -> bool:
    """Whether a point is of those that `wanted` means: VM, VM/DISK or VM/DISK@TIME, a TIME may be cut short.

    Parts count whole; `*`, `?` and `[...]` in one stand for any characters of it. An empty text means all.
    """
    if not wanted:
        return True
    disk, _, when = wanted.partition("@")
    parts = disk.strip("/").split("/")
    if len(parts) > 2:
        return False
    pairs = zip((name.vm, name.disk), parts, strict=False)
    return all(not part or fnmatchcase(own, part) for own, part in pairs) and fnmatchcase(name.time, f"{when}*")


def absent(known: Iterable[PointName], wanted: str, where: str) -> Refused:
    """Why nothing is shown of `wanted`: none of the points at `where` goes by that."""
    disk = wanted.partition("@")[0].strip("/")
    disks = sorted({f"{name.vm}/{name.disk}" for name in known})
    vms = sorted({each.partition("/")[0] for each in disks})
    if disk in disks or disk in vms:
        return Refused(
            f"no point here is called {wanted!r} ({where})", f"see those of it: crashcart backup list --only {disk}"
        )
    helps = nearest(disks if "/" in disk else vms, disk)
    return Refused(
        f"no disk here is called {wanted!r} ({where})", f"{helps}; names count whole, 'web*' means all that begin so"
    )


def nearest(known: Collection[str], wanted: str) -> str:
    """What may have been meant, and what else there is; in words."""
    some = ", ".join(sorted(known)[:SHOWN]) + (" …" if len(known) > SHOWN else "")
    there = f"there are {some}" if known else "there is no point at all"
    return "; ".join(filter(None, (meant(wanted, known), there, "see all: crashcart backup list")))


def of_path(path: str) -> PointName | None:
    """The point whose file this is; None for any other name."""
    parts = path.split("/")
    if len(parts) != 4 or not parts[3].endswith(".point"):
        return None
    when = parts[3].removesuffix(".point")
    fits = good(parts[1]) and good(parts[2]) and STAMP.match(when)
    return PointName(parts[1], parts[2], when) if fits else None
