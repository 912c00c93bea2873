"""One entry of a folder in FAT or exFAT, and the times both write."""

from __future__ import annotations

import calendar
import stat
from dataclasses import dataclass

from engines.backup.files.model import Node

READ_ONLY, FOLDER = 0x01, 0x10
NANO = 10**9


@dataclass(frozen=True)
class Item:
    """chained: whether its clusters are found by the table; valid: bytes that were written, the rest reads as zeros."""

    name: bytes
    attributes: int
    cluster: int
    size: int
    place: int
    mtime: int = 0
    atime: int = 0
    chained: bool = True
    valid: int = -1

    @property
    def is_folder(self) -> bool:
        """Whether it can be listed."""
        return bool(self.attributes & FOLDER)

    @property
    def written(self) -> int:
        """Bytes of its size that were written."""
        return self.size if self.valid < 0 else min(self.valid, self.size)

    def node(self, unit: int) -> Node:
        """With the modes that Linux gives by default; `unit`: bytes of a cluster."""
        mode = (stat.S_IFDIR | 0o755) if self.is_folder else (stat.S_IFREG | 0o755)
        return Node(
            name=self.name,
            inode=self.cluster or (1 << 40) + self.place // 32,
            mode=mode & ~0o222 if self.attributes & READ_ONLY else mode,
            size=self.size,
            mtime=self.mtime,
            atime=self.atime,
            ctime=self.mtime,
            allocated=-(-self.size // unit) * unit if self.cluster else 0,
        )


def moment(date: int, time: int = 0, hundredths: int = 0, zone: int = 0) -> int:
    """DOS date and time as ns since 1970; zone: exFAT's quarters of an hour east of UTC."""
    year, month, day = (date >> 9) + 1980, date >> 5 & 15, date & 31
    hour, minute, second = time >> 11, time >> 5 & 63, (time & 31) * 2
    east = ((zone & 0x7F) ^ 0x40) - 0x40 if zone & 0x80 else 0
    seconds = calendar.timegm((year, min(max(month, 1), 12), 1, 0, 0, 0)) + (max(day, 1) - 1) * 86400
    seconds += hour * 3600 + minute * 60 + second - east * 900
    return seconds * NANO + hundredths * 10_000_000


def text(raw: bytes) -> bytes:
    """A name in UTF-16 as the bytes of UTF-8; halves of a pair stand for themselves."""
    return raw.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
