"""The block device that a file or device is read from, as the kernel's limits name it."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engines.host.holder import boot_id
from engines.host.mountinfo import mounts

KERNELS = ("devtmpfs", "proc", "sysfs")  # types of file systems whose files the kernel makes
BLKGETSIZE64 = 0x80081272  # linux/fs.h


@dataclass(frozen=True, order=True)
class Device:
    """A whole disk or mapped device by its numbers: what blk-throttle takes, which knows no partitions."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"

    @property
    def folder(self) -> Path:
        """Its place in /sys."""
        return Path(f"/sys/dev/block/{self}")

    @property
    def node(self) -> str:
        """Its name under /dev, as the kernel calls it."""
        return f"/dev/{self.folder.resolve().name.replace('!', '/')}"

    @property
    def lasting(self) -> str:
        """A name that stays its own after a reboot; where it has none, one for this boot."""
        for known in ("dm/uuid", "wwid", "device/wwid", "device/serial", "serial", "loop/backing_file"):
            try:
                if found := (self.folder / known).read_text().strip():
                    return f"{known} {found}"
            except OSError:
                continue
        return f"boot {boot_id()} {self}"

    def below(self) -> Iterator[Device]:
        """The devices it is made of, all the way down."""
        slaves = self.folder / "slaves"
        for entry in slaves.iterdir() if slaves.is_dir() else ():
            one = _whole(*_numbers(entry))
            if one is not None:
                yield one
                yield from one.below()


def kernels_own(path: Path) -> bool:
    """Whether it lies where only the kernel makes files: what is written to one there is kept in memory, or nowhere.

    As under /mnt/dev, too, where somebody works in another system.
    """
    place = Path(os.path.realpath(path.parent), path.name)  # which ends a circle of links without an error
    if any(place.is_relative_to(folder) for folder in ("/dev", "/proc", "/sys")):
        return True
    return any(_type_on(device) in KERNELS for device in islice(_devices(place.parents), 1))


def _devices(folders: Iterable[Path]) -> Iterator[int]:
    """Of those that are there, as far as whoever asks may see: below a folder that is closed to him, he makes none."""
    for folder in folders:
        with suppress(OSError):
            yield folder.stat().st_dev


def of(where: Path | int) -> Device | None:
    """What a path or descriptor is read from; None where that is no one device (btrfs, overlayfs, NFS, tmpfs)."""
    found = os.fstat(where) if isinstance(where, int) else where.stat()
    number = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    return _whole(os.major(number), os.minor(number))


def kind_of(descriptor: int) -> str:
    """The type of the file system that an open file lies on; empty where mounts do not tell (btrfs)."""
    return _type_on(os.fstat(descriptor).st_dev)


def _type_on(device: int) -> str:
    number = f"{os.major(device)}:{os.minor(device)}"
    return next((mount.kind for mount in mounts() if mount.number == number), "")


def _whole(major: int, minor: int) -> Device | None:
    folder = Path(f"/sys/dev/block/{major}:{minor}")
    if not folder.exists():
        return None
    if (folder / "partition").is_file():
        return Device(*_numbers(folder.resolve().parent))
    return Device(major, minor)


def _numbers(folder: Path) -> tuple[int, int]:
    major, _, minor = (folder / "dev").read_text().strip().partition(":")
    return int(major), int(minor)


def device_size(descriptor: int) -> int:
    """Bytes of a block device."""
    raw = fcntl.ioctl(descriptor, BLKGETSIZE64, bytes(8))
    size: int = struct.unpack("Q", raw)[0]
    return size
