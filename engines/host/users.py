"""Who uses a disk image or device on this machine, as data: processes, mounts, swap, what lies above it, QEMU's locks.

QEMU marks what it does with a file by OFD locks on single bytes (block/file-posix.c): 100+n says "I do n",
200+n says "nobody else may do n"; n is 0 consistent read, 1 write, 3 resize.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.host.files import open_file
from engines.host.mountinfo import mounts

WRITES, RESIZES = 101, 103
FORBIDS_WRITE, FORBIDS_RESIZE = 201, 203
FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid

Kind = Literal["process", "virtual machine", "loop device", "mount", "swap", "holder"]


@dataclass(frozen=True)
class User:
    """kind: what sort of use. who: a program, a mount point, a device's name. writes: whether it may change the disk.

    of: the device that is used, by its short name, where a partition may be; pid: a process's number, else 0.
    """

    kind: Kind
    who: str
    writes: bool
    of: str = ""
    pid: int = 0

    @property
    def words(self) -> str:
        """One clause, with the disk as its subject."""
        if self.kind == "process":
            return f"open in process {self.pid} ({self.who})" if self.pid else f"open for writing in {self.who}"
        start = {
            "virtual machine": "locked by",
            "loop device": "attached as",
            "mount": "mounted at",
            "swap": "used as swap of",
            "holder": "part of",
        }[self.kind]
        return f"{start} {self.who}"


def writers(path: Path, *, locks: bool = True) -> list[User]:
    """Who may change it; empty where nobody is seen. locks: look for QEMU's, which readers hold, too."""
    found = path.stat()
    if stat.S_ISBLK(found.st_mode):
        return [*above(found), *(user for user in processes(found) if user.writes)]
    written = _written(path)
    seen = [user for user in processes(found) if user.writes] if written is not False else []
    unseen = [User("process", "a process that does not show it", True)] if written and not seen else []
    machine = [User("virtual machine", "a virtual machine", True)] if locks and _any_lock(path) else []
    return [*above(found), *machine, *seen, *unseen]


def hidden(path: Path) -> bool:
    """Whether somebody else may write it whom only root would see: the kernel gives this user no lease."""
    return stat.S_ISBLK(path.stat().st_mode) or _written(path) is None


# ── processes ───────────────────────────────────────────────────────────────────────────────────────


def processes(wanted: os.stat_result) -> Iterator[User]:
    """Processes other than this one that have the file or device open; those of other users only for root."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid() and (modes := _modes(folder, wanted)):
            writes = any(mode != os.O_RDONLY for mode in modes)
            yield User("process", _program(folder), writes, pid=int(folder.name))


def _modes(folder: Path, wanted: os.stat_result) -> set[int]:
    """How a process has it open: read, write, both."""
    found = set()
    try:
        for entry in os.scandir(folder / "fd"):
            if (mode := _mode(folder, entry, wanted)) is not None:
                found.add(mode)
    except OSError:
        return found  # gone, or another user's
    return found


def _mode(folder: Path, entry: os.DirEntry[str], wanted: os.stat_result) -> int | None:
    try:
        if not _same(os.stat(entry.path), wanted):  # noqa: PTH116  scandir's own path, far quicker than Path
            return None
        text = (folder / "fdinfo" / entry.name).read_text()
        return int(text.split("flags:")[1].split()[0], 8) & os.O_ACCMODE
    except (OSError, IndexError, ValueError):
        return None  # closed by now


def _same(seen: os.stat_result, wanted: os.stat_result) -> bool:
    if stat.S_ISBLK(wanted.st_mode):
        return stat.S_ISBLK(seen.st_mode) and seen.st_rdev == wanted.st_rdev
    return stat.S_ISREG(seen.st_mode) and (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino)


def _program(folder: Path) -> str:
    try:
        text = (folder / "comm").read_text().strip()
    except OSError:
        return "ended by now"
    return "".join(char for char in text if char.isprintable())


# ── the kernel ──────────────────────────────────────────────────────────────────────────────────────


def above(wanted: os.stat_result) -> Iterator[User]:
    """What the kernel has made of it: loop devices over a file; of a device mounts, swap, devices made of it."""
    if not stat.S_ISBLK(wanted.st_mode):
        yield from _loops(wanted)
        return
    parts = _parts(wanted.st_rdev)
    for part in parts.values():
        for holder in (part / "holders").glob("*"):
            yield User("holder", holder.name, True, of=part.name)
    for mount in mounts():
        if mount.number in parts:
            yield User("mount", mount.folder, True, of=parts[mount.number].name)
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        device = Path(line.split()[0])
        if device.is_block_device() and number(device) in parts:
            yield User("swap", "this machine", True, of=str(device))


def _parts(device: int) -> dict[str, Path]:
    """The device and its partitions in /sys, by their numbers."""
    whole = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    if not whole.exists():
        return {}
    folders = [whole, *(mark.parent for mark in whole.glob("*/partition"))]
    return {(folder / "dev").read_text().strip(): folder for folder in folders}


def number(device: Path) -> str:
    """A device's numbers, as /sys writes them."""
    found = device.stat().st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


def _loops(wanted: os.stat_result) -> Iterator[User]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found = Path(backing.read_text().rstrip("\n")).stat()
        except OSError:
            continue  # detached while we looked, or its file is gone
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            yield User("loop device", backing.parent.parent.name, True)


# ── locks and leases ────────────────────────────────────────────────────────────────────────────────


def locked(descriptor: int, *places: int) -> int:
    """The first of these bytes that somebody else has locked, or 0."""
    for place in places:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
        if struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK:
            return place
    return 0


def _any_lock(path: Path) -> bool:
    """Whether a QEMU has it open at all."""
    try:
        descriptor = open_file(path)
    except OSError:
        return False
    try:
        return locked(descriptor, *range(100, 105), *range(200, 205)) != 0
    finally:
        os.close(descriptor)


def _written(path: Path) -> bool | None:
    """Whether somebody has it open, or mapped, for writing: else the kernel grants a lease. None where it does not say.

    Who opens it in that instant waits until the lease is given back, and the signal that says so is one that
    does nothing. A look through the open files of all processes takes hundreds of times as long.
    """
    try:
        descriptor = open_file(path)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
