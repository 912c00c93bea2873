"""The superblock of a member of Linux's software RAID, in any of its four places.

Sources: Linux, include/uapi/linux/raid/md_p.h; md(4), mdadm(8).
"""

from __future__ import annotations

import struct
import uuid
from typing import NamedTuple

from engines.backup.files.volumes.window import Window

SECTOR = 512
MAGIC = 0xA92B4EFC
OLD_APART = 64 * 1024  # bytes; version 0.90 lies in the last such piece that is whole


class Array(NamedTuple):
    """place: its first byte. label: the array's name, of version 1 only."""

    place: int
    label: str = ""
    uuid: str = ""


def find(part: Window) -> Array | None:
    """The one of a disk or partition; None for none."""
    last = (part.size // SECTOR - 16) & ~7
    for place in (0, 4096, last * SECTOR):
        raw = part.read(place, 256) if place >= 0 else b""
        if len(raw) == 256 and raw[:8] == struct.pack("<II", MAGIC, 1):
            label = raw[32:64].split(b"\0")[0].decode("utf-8", "replace")
            return Array(place, label, str(uuid.UUID(bytes=raw[16:32])))
    old = part.size // OLD_APART * OLD_APART - OLD_APART
    if old >= 0 and part.read(old, 8) in (struct.pack("<II", MAGIC, 0), struct.pack(">II", MAGIC, 0)):
        return Array(old)
    return None
