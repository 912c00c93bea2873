"""What lies in a guest's volume where files are to go: looked at through the appliance, links followed within it."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engines.backup.files.appliance.probe import probed
from engines.backup.files.model import join, shown
from engines.guest.appliance import Appliance
from engines.job.errors import Refused

SAFE = "nodev,nosuid,noatime"  # a guest's device node would be one of the appliance's
OPTIONS = {"xfs": ",nouuid", "vfat": ",utf8", "btrfs": ",subvolid=5"}  # all of a btrfs, as the browser has it
FOREIGN = ("vfat", "exfat", "ntfs")  # they keep neither owners nor modes
HIBERNATED = b"""for d in /dev/sd?* /dev/mapper/*; do blkid -p -o value -s TYPE $d; done 2>/dev/null |
grep -x swsuspend || true"""
LINKS = 40  # followed at most, as Linux does
MARGIN = 4  # blocks that a new folder or file may cost beside its bytes


@dataclass(frozen=True)
class GuestVolume:
    """A file system on the guest's disk; `device` is the appliance's name for it."""

    name: str
    device: str
    format: str
    uuid: str = ""
    label: str = ""
    dirty: str = ""
    cut: str = ""

    def mount(self, appliance: Appliance, *, writable: bool) -> None:
        """Have it be the appliance's root. Raises GuestError."""
        options = SAFE + OPTIONS.get(self.format, "") + ("" if writable else ",ro")
        appliance.call("mount_options", options, self.device, "/")

    @property
    def foreign(self) -> bool:
        """Whether it keeps neither owners nor modes."""
        return self.format in FOREIGN


@dataclass(frozen=True)
class Before:
    """A file that is there already. mode: st_mode; mtime in ns; sizes in bytes; link: a symbolic link's target."""

    mode: int
    size: int = 0
    mtime: int = 0
    allocated: int = 0
    uid: int = 0
    gid: int = 0
    link: bytes = b""


@dataclass(frozen=True)
class VolumeRoom:
    """What a volume has left: bytes, inodes (None where it makes them as needed), bytes a block."""

    free: int
    inodes: int | None
    block: int


def volumes(appliance: Appliance) -> list[GuestVolume]:
    """The file systems of the guest's disk, named as the browser names them. Raises Refused, GuestError."""
    script = Script(appliance)
    infos, devices = probed(script)
    if script.shell(HIBERNATED).strip():
        raise Refused(
            "the guest is hibernated: what it has in memory would overwrite what is put", "resume it and shut it down"
        )
    return [
        GuestVolume(info.name, devices[info.name], info.format, info.uuid, info.label, info.dirty, info.cut)
        for info in infos
        if info.drivers
    ]


@dataclass(frozen=True)
class Script:
    """Scripts in an appliance."""

    appliance: Appliance

    def shell(self, script: bytes) -> bytes:
        """What it prints. Raises GuestError."""
        said: str = self.appliance.bytewise("shell", _line(script))
        return said.encode("latin-1")


class GuestView:
    """The volume that is mounted in the appliance."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def room(self) -> VolumeRoom:
        """What is left."""
        found: dict[str, int] = self._appliance.call("statvfs", "/")
        block = found["frsize"] or found["bsize"]
        return VolumeRoom(found["bavail"] * block, found["ffree"] if found["files"] else None, block)

    def look(self, folder: bytes, names: Iterable[bytes]) -> dict[bytes, Before]:
        """Those of `names` that are in an existing folder."""
        asked = [_line(name) for name in names]
        rows: list[list[Any]] = self._appliance.bytewise("nodes", _line(folder), asked) if asked else []
        return {row[0].encode("latin-1"): _before(row) for row in rows}

    def attributes(self, path: bytes) -> dict[str, bytes]:
        """Extended attributes, a link's own."""
        found: dict[str, str] = self._appliance.bytewise("attributes", _line(path))
        return {
            name.encode("latin-1").decode("utf-8", "surrogateescape"): value.encode("latin-1")
            for name, value in found.items()
        }

    def content(self, path: bytes, most: int) -> bytes:
        """The beginning of a file."""
        memory = os.memfd_create("guest-read")
        try:
            into = f"/proc/{os.getpid()}/fd/{memory}"
            return os.pread(memory, self._appliance.bytewise("read", _line(path), most, 0, into), 0)
        finally:
            os.close(memory)

    def reach(self, path: bytes) -> tuple[bytes, list[bytes]]:
        """(the deepest existing folder on the way to `path`, links followed; the names that are missing below it).

        Raises Refused where something else than a folder is on the way.
        """
        return self._reach(path, 0)

    def _reach(self, path: bytes, followed: int) -> tuple[bytes, list[bytes]]:
        if followed > LINKS:
            raise _no_way(path, "has links that may go round in a circle")
        here: list[bytes] = []
        rest = [part for part in path.split(b"/") if part not in (b"", b".")]
        while rest:
            if rest[0] == b"..":
                here, rest = here[:-1], rest[1:]
                continue
            folder = b"/" + b"/".join(here)
            seen = self.look(folder, rest[:1]).get(rest[0])
            if seen is None:
                return folder, rest
            name, rest = rest[0], rest[1:]
            if stat.S_ISDIR(seen.mode):
                here.append(name)
            elif stat.S_ISLNK(seen.mode):
                real, missing = self._reach(posixpath.join(folder, seen.link), followed + 1)
                if missing:
                    raise _no_way(join(folder, name), "is a link that leads to nothing on that volume")
                here = real[1:].split(b"/") if real != b"/" else []
            else:
                raise _no_way(join(folder, name), "is no folder and stays what it is")
        return b"/" + b"/".join(here), []

    def entered(self, path: bytes) -> bytes | None:
        """The existing folder at `path`, or where a link there leads; None where that is no folder of the volume."""
        try:
            real, missing = self.reach(path)
        except Refused:
            return None
        return None if missing else real


def _no_way(path: bytes, why: str) -> Refused:
    return Refused(f"{shown(path)} in the guest {why}", "put the files elsewhere: --at FOLDER")


def _before(row: list[Any]) -> Before:
    """A row of Bytewise.nodes."""
    _, _, mode, size, uid, gid, links, mtime, _, _, allocated, *_, link = row
    return Before(mode, size, mtime, allocated if links == 1 else 0, uid, gid, link.encode("latin-1"))


def _line(raw: bytes) -> str:
    return raw.decode("latin-1")
