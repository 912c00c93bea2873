"""A volume group written by hand, so that a guest on LVM needs neither device mapper nor an appliance to build.

Format: LVM2's lib/format_text/layout.h: a label in sector 1, a metadata header at 4 KiB, metadata as text behind it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

SECTOR = 512
EXTENT = 4 * 1024 * 1024  # bytes
FIRST_EXTENT = 1024 * 1024  # bytes from the start of the physical volume
AREA, AREA_SIZE = 4096, FIRST_EXTENT - 4096
PV_ID, VG_ID = "crash0cart0rehearsal0pv00000000a", "crash0cart0rehearsal0vg00000000a"
LV_ID = "crash0cart0rehearsal0lv{:08d}a"


@dataclass(frozen=True)
class Volume:
    """A linear logical volume; sizes in extents."""

    name: str
    first: int
    extents: int

    @property
    def offset(self) -> int:
        """Bytes from the start of the physical volume."""
        return FIRST_EXTENT + self.first * EXTENT


def volumes(size: int, swap: int) -> tuple[Volume, Volume]:
    """LogVol00 for the root and LogVol01 for `swap` extents, on a physical volume of `size` bytes."""
    total = (size - FIRST_EXTENT) // EXTENT
    return Volume("LogVol00", 0, total - swap), Volume("LogVol01", total - swap, swap)


def headers(size: int, found: tuple[Volume, ...], device: str) -> dict[int, bytes]:
    """What to write where (bytes from the start of the physical volume of `size` bytes)."""
    text = _text(size, found, device).encode() + b"\0"
    location = struct.pack("<QQII", SECTOR, len(text), _crc(text), 0)
    area = b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, AREA, AREA_SIZE) + location
    area = area.ljust(SECTOR - 4, b"\0")
    body = struct.pack("<I8s", 32, b"LVM2 001") + PV_ID.encode() + struct.pack("<Q", size)
    body += struct.pack("<QQQQQQQQ", FIRST_EXTENT, 0, 0, 0, AREA, AREA_SIZE, 0, 0)
    body = body.ljust(SECTOR - 20, b"\0")
    label = b"LABELONE" + struct.pack("<QI", 1, _crc(body)) + body
    return {SECTOR: label, AREA: struct.pack("<I", _crc(area)) + area, AREA + SECTOR: text}


def _crc(data: bytes) -> int:
    """LVM's CRC-32: the usual polynomial, its own start value, no final inversion (lib/misc/crc.c)."""
    crc = 0xF597A6CF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 & -(crc & 1))
    return crc


def _dashed(plain: str) -> str:
    cuts = (0, 6, 10, 14, 18, 22, 26, 32)
    return "-".join(plain[a:b] for a, b in pairwise(cuts))


def _text(size: int, found: tuple[Volume, ...], device: str) -> str:
    logical = "\n".join(
        f'{each.name} {{\nid = "{_dashed(LV_ID.format(number))}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
        f'segment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = {each.extents}\ntype = "striped"\n'
        f'stripe_count = 1\nstripes = [\n"pv0", {each.first}\n]\n}}\n}}'
        for number, each in enumerate(found)
    )
    return (
        f'VolGroup00 {{\nid = "{_dashed(VG_ID)}"\nseqno = 1\nformat = "lvm2"\n'
        'status = ["RESIZEABLE", "READ", "WRITE"]\n'
        "flags = []\n"
        f"extent_size = {EXTENT // SECTOR}\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\n"
        f'physical_volumes {{\npv0 {{\nid = "{_dashed(PV_ID)}"\ndevice = "/dev/{device}"\nstatus = ["ALLOCATABLE"]\n'
        f"flags = []\ndev_size = {size // SECTOR}\npe_start = {FIRST_EXTENT // SECTOR}\n"
        f"pe_count = {(size - FIRST_EXTENT) // EXTENT}\n}}\n}}\n\nlogical_volumes {{\n{logical}\n}}\n}}\n"
        '# Generated for a rehearsal\ncontents = "Text Format Volume Group"\nversion = 1\n\ndescription = ""\n'
        'creation_host = "rehearsal"\ncreation_time = 1\n'
    )
