"""How much of a file system lies beyond the end of its disk: an image that was copied in part looks whole by its head.

Sources: fs/ext4/ext4.h; Linux-NTFS documentation (boot sector); FAT32 and exFAT specifications (boot sector).
"""

from __future__ import annotations

import struct

from engines.backup.files.volumes.ext import superblock as ext
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

MIB = 1 << 20


def off(format_: str, part: Window) -> str:
    """In words; empty where all of it is there, and where its head cannot be read."""
    try:
        beyond = _length(format_, part) - part.size
    except Failed:
        return ""
    if beyond <= 0:
        return ""
    lost = f"{beyond // MIB} MiB" if beyond >= MIB else f"{beyond} bytes"
    return f"cut off: its last {lost} lie beyond the end of the disk or partition"


def _length(format_: str, part: Window) -> int:
    """Bytes, as its first superblock or boot sector has them; 0 where that is not known."""
    if format_.startswith("ext"):
        found = ext.parse(part.read(ext.START, ext.SIZE))
        return found.blocks * found.block if found else 0
    if format_ not in ("vfat", "ntfs", "exfat"):
        return 0
    raw = part.read(0, 512).ljust(512, b"\0")
    sector, short, long = (struct.unpack_from(kind, raw, at)[0] for kind, at in (("<H", 11), ("<H", 19), ("<I", 32)))
    if format_ == "vfat":
        return int(short or long) * int(sector)
    (whole,) = struct.unpack_from("<Q", raw, 40 if format_ == "ntfs" else 72)
    if format_ == "ntfs":
        return int(whole) * int(sector)
    return int(whole) << min(raw[108], 12)
