"""What the kernel itself says about a mapped device: asked without a process, a lock, or a look at any disk.

Source: linux/dm-ioctl.h, interface 4; Documentation/admin-guide/device-mapper/{snapshot,thin-provisioning}.rst.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass

from engines.job.errors import Failed

HEADER = struct.Struct("<3IIIIiIIIQ128s129s7x")
TARGET = struct.Struct("<QQiI16s")
TABLE_STATUS = 0xC138FD0C  # _IOWR(0xfd, 12, struct dm_ioctl)
TABLE = 1 << 4  # the table itself, not its status
NO_FLUSH = 1 << 11  # without it a thin pool commits its metadata at every look
SUSPENDED = 1 << 1
ROOM = 16384  # bytes


@dataclass(frozen=True)
class TableTarget:
    """One target of a device's table, with the status line that its module prints."""

    kind: str
    status: str


@dataclass(frozen=True)
class Mapped:
    """A mapped device: its uuid, whether it stands still, how often it is open, and its targets."""

    uuid: str
    suspended: bool
    opened: int
    targets: tuple[TableTarget, ...]


def status(device: tuple[int, int]) -> Mapped:
    """The device with these major and minor numbers. Raises OSError (ENXIO where it is gone)."""
    return _asked(device, NO_FLUSH)


def table(device: tuple[int, int]) -> Mapped:
    """The same with each target's own parameters as its status. Raises OSError."""
    return _asked(device, NO_FLUSH | TABLE)


def _asked(device: tuple[int, int], wanted: int) -> Mapped:
    buffer = bytearray(ROOM)
    HEADER.pack_into(buffer, 0, 4, 0, 0, ROOM, HEADER.size, 0, 0, wanted, 0, 0, _encoded(os.makedev(*device)), b"", b"")
    control = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, TABLE_STATUS, buffer)
    finally:
        os.close(control)
    _, _, _, _, start, count, opened, flags, _, _, _, _, uuid = HEADER.unpack_from(buffer)
    targets = []
    at = start
    for _ in range(count):
        _, _, _, following, kind = TARGET.unpack_from(buffer, at)
        targets.append(TableTarget(_text(kind), _text(bytes(buffer[at + TARGET.size : start + following]))))
        at = start + following
    return Mapped(_text(uuid), bool(flags & SUSPENDED), opened, tuple(targets))


def _encoded(device: int) -> int:
    """A device number as the kernel's huge_encode_dev packs it."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


@dataclass(frozen=True)
class Fill:
    """How full a snapshot or a pool is: used and total, in the kernel's own units; `trouble` where it is lost."""

    used: int
    total: int
    trouble: str = ""

    @property
    def percent(self) -> float:
        """0 to 100."""
        return 100.0 * self.used / self.total if self.total else 100.0


def snapshot_fill(found: Mapped) -> Fill:
    """Of a thick snapshot: `used/total metadata`, in sectors, or one word where it is lost."""
    target = next((target for target in found.targets if target.kind == "snapshot"), None)
    if target is None:
        return Fill(1, 1, "is no snapshot any more")
    first = target.status.split(" ")[0]
    if "/" not in first:
        return Fill(1, 1, f"is {target.status.lower() or 'lost'}")
    used, total = (int(part) for part in first.split("/"))
    return Fill(used, total)


def pool_fill(found: Mapped) -> tuple[Fill, Fill]:
    """Data and metadata of a thin pool, in blocks."""
    target = next((target for target in found.targets if target.kind == "thin-pool"), None)
    words = target.status.split() if target else []
    if len(words) < 6:
        lost = Fill(1, 1, f"is {' '.join(words).lower() or 'gone'}")
        return lost, lost
    fills = []
    for word in (words[2], words[1]):
        used, total = (int(part) for part in word.split("/"))
        fills.append(Fill(used, total))
    bad = {"ro": "is read-only", "out_of_data_space": "is out of space", "Error": "has an error"}
    trouble = next((said for word, said in bad.items() if word in words), "")
    return Fill(fills[0].used, fills[0].total, trouble), fills[1]


def metadata_held(found: Mapped) -> bool:
    """Whether a thin pool's metadata snapshot is reserved. Raises OSError where that is no pool."""
    words = next((target.status for target in found.targets if target.kind == "thin-pool"), "").split()
    if len(words) < 4:
        raise OSError(f"the pool {' '.join(words).lower() or 'is gone'}")
    return words[3] != "-"


def thin_id(found: Mapped) -> int | None:
    """The number of a thin device in its pool, from its table: `pool number [external origin]`."""
    words = next((target.status for target in found.targets if target.kind == "thin"), "").split()
    return int(words[1]) if len(words) > 1 else None


def gone(device: tuple[int, int], error: OSError) -> Failed:
    """The error where the kernel does not know the device any more."""
    return Failed(
        f"device {device[0]}:{device[1]} does not answer: {error.strerror}",
        "no point was made; somebody removed the snapshot: see lvs -a",
    )
