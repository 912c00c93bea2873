"""Whether somebody works on a disk: mounted, part of a device above, or open for writing in a process."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
from pathlib import Path

from engines.host.mountinfo import mounts

F_OFD_GETLK = 36  # asm-generic/fcntl.h
QEMU_BYTES = (100, 201)  # first and behind the last byte that QEMU's image locks take (block/file-posix.c)


def writers(path: Path, *, locks: bool = True) -> list[str]:
    """Who may change it, in words; empty where nobody is seen. locks: look for QEMU's, which readers hold, too."""
    found = path.stat()
    if stat.S_ISBLK(found.st_mode):
        return [*_holders(found.st_rdev), *_mounts(found.st_rdev), *_processes(found)]
    written = _written(path)
    seen = _processes(found) if written is not False else []
    unseen = ["open for writing in a process that does not show it"] if written and not seen else []
    return [*_loops(path), *(_qemu(path) if locks else []), *seen, *unseen]


def hidden(path: Path) -> bool:
    """Whether somebody else may write it whom only root would see: the kernel gives this user no lease."""
    return stat.S_ISBLK(path.stat().st_mode) or _written(path) is None


def _sys(device: int) -> Path:
    return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")


def _parts(device: int) -> list[Path]:
    """The device and its partitions in /sys."""
    whole = _sys(device)
    if not whole.exists():
        return []
    return [whole, *(child for child in whole.resolve().iterdir() if (child / "partition").is_file())]


def _holders(device: int) -> list[str]:
    held = []
    for part in _parts(device):
        folder = part / "holders"
        held += [f"part of {holder.name}" for holder in folder.iterdir()] if folder.is_dir() else []
    return held


def _mounts(device: int) -> list[str]:
    numbers = set()
    for part in _parts(device):
        numbers.add((part / "dev").read_text().strip())
    return [f"mounted at {mount.folder}" for mount in mounts() if mount.number in numbers]


def _loops(path: Path) -> list[str]:
    found = []
    real = str(path.resolve())
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().rstrip("\n") == real:
                found.append(f"attached as {backing.parent.parent.name}")
        except OSError:
            continue  # detached while we looked
    return found


def _qemu(path: Path) -> list[str]:
    """QEMU says that it writes by open-file-description locks on some bytes of the image."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        first, last = QEMU_BYTES
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, first, last - first, 0)
        found = struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, F_OFD_GETLK, wanted))
        return [] if found[0] == fcntl.F_UNLCK else ["locked by a virtual machine"]
    finally:
        os.close(descriptor)


def _written(path: Path) -> bool | None:
    """Whether somebody has it open, or mapped, for writing: else the kernel grants a lease. None where it does not say.

    Who opens it in that instant waits until the lease is given back, and the signal that says so is one that
    does nothing. A look through the open files of all processes takes hundreds of times as long.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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


def _processes(wanted: os.stat_result) -> list[str]:
    """Processes other than this one that have it open for writing."""
    found = []
    block = stat.S_ISBLK(wanted.st_mode)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            for entry in os.scandir(folder / "fd"):
                seen = os.stat(entry.path)  # noqa: PTH116  scandir's own path, a million times quicker than Path
                same = seen.st_rdev == wanted.st_rdev if block else _same(seen, wanted)
                if same and stat.S_IFMT(seen.st_mode) == stat.S_IFMT(wanted.st_mode):
                    flags = int((folder / "fdinfo" / entry.name).read_text().split("flags:")[1].split()[0], 8)
                    if flags & os.O_ACCMODE != os.O_RDONLY:
                        found.append(f"open in process {folder.name} ({_comm(folder)})")
                        break
        except (OSError, IndexError):
            continue  # gone, or another user's
    return found


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _comm(folder: Path) -> str:
    return "".join(char for char in (folder / "comm").read_text().strip() if char.isprintable())
