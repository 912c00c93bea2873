"""Where a FAT or exFAT volume keeps its table, its root folder and its clusters, from its boot sector.

Sources: Microsoft, FAT32 File System Specification 1.03; exFAT file system specification (Microsoft Learn).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.window import Window

FAT12, FAT16 = 4085, 65525  # clusters from which on the next wider entries are used


@dataclass(frozen=True)
class Geometry:
    """Positions and sizes in bytes. bits: of an entry of the table, exFAT's 32 too.

    root: its first cluster; 0 where it has a place of its own, `root_size` bytes from `root_place`.
    """

    exfat: bool
    bits: int
    table: int
    table_size: int
    heap: int
    cluster: int
    clusters: int
    root: int
    root_place: int = 0
    root_size: int = 0

    def place(self, number: int) -> int:
        """Where a cluster lies. Raises BrowseError for one that is not there."""
        if not 2 <= number < self.clusters + 2:
            raise BrowseError(f"cluster {number} lies outside the file system, which has {self.clusters}")
        return self.heap + (number - 2) * self.cluster


def read(window: Window) -> Geometry:
    """Raises BrowseError for a boot sector that cannot be."""
    raw = window.exactly(0, 512, "the boot sector")
    found = _exfat(raw) if raw[3:11] == b"EXFAT   " else _fat(raw)
    if found.heap >= window.size or found.clusters < 1:
        raise BrowseError(f"the boot sector is damaged: it names {found.clusters} clusters from byte {found.heap} on")
    return found


def _exfat(raw: bytes) -> Geometry:
    table, length, heap, clusters, root = struct.unpack_from("<IIIII", raw, 80)
    flags, sector_shift, cluster_shift = struct.unpack_from("<H", raw, 106)[0], raw[108], raw[109]
    if not 9 <= sector_shift <= 12 or sector_shift + cluster_shift > 25:
        raise BrowseError(f"the boot sector is damaged: sectors of 2^{sector_shift} bytes, 2^{cluster_shift} a cluster")
    start = table + (length if flags & 1 and raw[110] == 2 else 0)  # the second table is the active one
    return Geometry(
        exfat=True,
        bits=32,
        table=start << sector_shift,
        table_size=length << sector_shift,
        heap=heap << sector_shift,
        cluster=1 << sector_shift + cluster_shift,
        clusters=clusters,
        root=root,
    )


def _fat(raw: bytes) -> Geometry:
    sector, per, reserved, tables, entries, total, _, length = struct.unpack_from("<HBHBHHBH", raw, 11)
    length32, flags, _, root = struct.unpack_from("<IHHI", raw, 36)
    total = total or struct.unpack_from("<I", raw, 32)[0]
    wide = length == 0
    length = length or length32
    if sector not in (512, 1024, 2048, 4096) or not per or per & (per - 1) or not length or not tables:
        raise BrowseError(f"the boot sector is damaged: sectors of {sector} bytes, {per} a cluster")
    after = reserved + tables * length
    heap = after + -(-entries * 32 // sector)
    clusters = max(0, total - heap) // per
    active = flags & 15 if wide and flags & 128 and flags & 15 < tables else 0
    return Geometry(
        exfat=False,
        bits=32 if wide else 12 if clusters < FAT12 else 16,
        table=(reserved + active * length) * sector,
        table_size=length * sector,
        heap=heap * sector,
        cluster=per * sector,
        clusters=clusters,
        root=root if wide else 0,
        root_place=after * sector,
        root_size=entries * 32,
    )
