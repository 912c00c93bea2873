"""What lies in a guest's volume where files are to go: looked at through the appliance, links followed within it."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.backup.browse.model import join, shown
from engines.guest.appliance import Appliance, GuestError
from engines.job.errors import Refused

NOT_FILES = ("", "swap", "LVM2_member", "linux_raid_member", "crypto_LUKS")
FOREIGN = ("vfat", "exfat", "ntfs")  # they keep neither owners nor modes
MARGIN = 4  # blocks that a new folder or file may cost beside its bytes


@dataclass(frozen=True)
class GuestVolume:
    """A file system on the guest's disk; `device` is the appliance's name for it."""

    name: str
    device: str
    format: str
    uuid: str = ""
    label: str = ""

    @property
    def foreign(self) -> bool:
        """Whether it keeps neither owners nor modes."""
        return self.format in FOREIGN


@dataclass(frozen=True)
class Before:
    """A file that is there already. mode: st_mode, 0 for unknown; mtime in ns; sizes in bytes."""

    mode: int
    size: int = 0
    mtime: int = 0
    allocated: int = 0
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Room:
    """What a volume has left: bytes, inodes (None where it makes them as needed), bytes a block."""

    free: int
    inodes: int | None
    block: int


def volumes(appliance: Appliance) -> list[GuestVolume]:
    """The file systems of the disk, named as the browser names them."""
    parts: list[str] = list(appliance.call("list_partitions"))
    logical: list[str] = list(appliance.call("lvs"))
    devices = {part: f"p{part.removeprefix('/dev/sda')}" for part in parts}
    devices |= {each: each.removeprefix("/dev/").replace("/", "-") for each in logical}
    if not devices:
        devices = {"/dev/sda": "disk"}
    found = []
    for device, name in devices.items():
        kind = _asked(appliance, "vfs_type", device)
        if kind not in NOT_FILES:
            uuid, label = _asked(appliance, "vfs_uuid", device), _asked(appliance, "vfs_label", device)
            found.append(GuestVolume(name, device, kind, uuid, label))
    return found


def _asked(appliance: Appliance, question: str, device: str) -> str:
    try:
        return str(appliance.call(question, device))
    except GuestError:
        return ""


class Ground:
    """The volume that is mounted in the appliance."""

    def __init__(self, appliance: Appliance, scratch: Path) -> None:
        self._appliance = appliance
        self._names = scratch / "names"

    def room(self) -> Room:
        """What is left."""
        found: dict[str, int] = self._appliance.call("statvfs", "/")
        block = found["frsize"] or found["bsize"]
        return Room(found["bavail"] * block, found["ffree"] if found["files"] else None, block)

    def look(self, folder: bytes, names: Iterable[bytes]) -> dict[bytes, Before]:
        """Those of `names` that are in an existing folder."""
        known, odd = {}, []
        asked = list(names)
        for name in asked:
            if (text := _utf8(name)) is None:
                odd.append(name)
            else:
                known[name] = text
        if (where := _utf8(folder)) is None:
            raise Refused(
                f"the guest's folder {shown(folder)} has a name that is not UTF-8, which libguestfs does not take",
                "put its files elsewhere: --at FOLDER",
            )
        found = {}
        if known:
            stats: list[dict[str, Any]] = self._appliance.call("lstatnslist", where, list(known.values()))
            found = {name: _before(each) for name, each in zip(known, stats, strict=True) if each["st_ino"] >= 0}
        if odd:
            there = self._all(where)
            found |= {name: Before(0) for name in odd if name in there}
        return found

    def _all(self, folder: str) -> set[bytes]:
        """All names of a folder, as bytes."""
        self._appliance.call("ls0", folder, str(self._names))
        content = self._names.read_bytes()
        self._names.unlink()
        return set(content.split(b"\0"))

    def attributes(self, folder: bytes, names: list[bytes]) -> dict[bytes, dict[str, bytes]]:
        """The extended attributes of files in a folder; those with a name that is not UTF-8 are left out."""
        known = {name: text for name in names if (text := _utf8(name)) is not None}
        where = _utf8(folder)
        if where is None or not known:
            return {}
        rows = iter(self._appliance.call("lxattrlist", where, list(known.values())))
        found = {}
        for name in known:
            count = int(bytes(next(rows)["attrval"]).rstrip(b"\0") or b"0")
            found[name] = {row["attrname"]: bytes(row["attrval"]) for row in (next(rows) for _ in range(count))}
        return found

    def reach(self, path: bytes) -> tuple[bytes, list[bytes]]:
        """(the deepest existing folder on the way to `path`, links followed; the names that are missing below it)."""
        here, rest = b"/", [part for part in path.split(b"/") if part]
        while rest:
            seen = self.look(here, rest[:1]).get(rest[0])
            if seen is None:
                break
            here = self.entered(join(here, rest.pop(0)), seen)
        return here, rest

    def entered(self, path: bytes, seen: Before) -> bytes:
        """An existing folder's own place: of a link to one, where it leads. Raises Refused for anything else."""
        if stat.S_ISDIR(seen.mode):
            return path
        text = _utf8(path)
        if stat.S_ISLNK(seen.mode) and text is not None:
            try:
                real = str(self._appliance.call("realpath", text))
                if self._appliance.call("is_dir", real):
                    return real.encode()
            except GuestError:
                real = str(self._appliance.call("readlink", text))
            raise Refused(
                f"{shown(path)} in the guest is a link to {shown(real.encode())}, which is no folder of that volume",
                "put the files elsewhere: --at FOLDER",
            )
        raise Refused(
            f"{shown(path)} in the guest is no folder, and never replaced by one",
            "put the files elsewhere: --at FOLDER",
        )


def _before(seen: dict[str, Any]) -> Before:
    mtime = seen["st_mtime_sec"] * 10**9 + seen["st_mtime_nsec"]
    allocated = seen["st_blocks"] * 512 if seen["st_nlink"] == 1 else 0
    return Before(seen["st_mode"], seen["st_size"], mtime, allocated, seen["st_uid"], seen["st_gid"])


def _utf8(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def parts(path: bytes) -> tuple[bytes, bytes]:
    """(folder, name)."""
    folder, name = posixpath.split(path)
    return folder, name
