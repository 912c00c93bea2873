"""The disk labels of BSD, Sun, SGI and Apple, as the kernel reads and numbers them.

Sources: FreeBSD sys/disk/bsd.h; Linux block/partitions/sun.c, sgi.c, mac.c, osf.c, and msdos.c for the numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engines.backup.files.model import DiskBytes
from engines.backup.files.volumes.table import Table

SECTOR = 512
BSD = struct.pack("<I", 0x82564557)
MOST = 22  # partitions in a BSD label
AT_ONCE = (SECTOR, 64)  # bytes from the first: where a disk without an MBR has it, the second on Alpha
WHOLE = 5  # a Sun partition's kind for the disk itself
SGI, SGI_WHOLE = 0x0BE5A941, 6
MAC_MOST = 256
MAC_APART = ("Apple_partition_map", "Apple_Free", "Apple_Void", "Apple_Scratch")


def read(disk: DiskBytes, table: Table) -> Table | None:
    """The partitions of a disk that begins with such a label; None where it does not."""
    raw = disk.read(0, SECTOR)
    if len(raw) == SECTOR and struct.unpack_from(">H", raw, 508)[0] == 0xDABE and not _sum(raw):
        _sun(disk, table, raw)
        return table
    if len(raw) == SECTOR and struct.unpack_from(">I", raw)[0] == SGI:
        _sgi(disk, table, raw)
    elif raw[:2] == b"ER":
        _mac(disk, table, struct.unpack_from(">H", raw, 2)[0])
    else:
        _bsd(disk, table)
    return table if table.partitions else None


def _bsd(disk: DiskBytes, table: Table) -> None:
    rows = next(filter(None, (list(_slices(disk, 0, at)) for at in AT_ONCE)), [])
    for number, offset, size, kind in rows:
        if (offset, size) != (0, disk.size // SECTOR * SECTOR):
            table.add(disk.size, number, (offset, size), f"bsd {kind:02x}")
    table.kind = "bsd" if rows else ""


def _sgi(disk: DiskBytes, table: Table, raw: bytes) -> None:
    table.kind = "sgi"
    for at in range(16):
        count, start, kind = struct.unpack_from(">III", raw, 312 + 12 * at)
        if count and kind not in (0, SGI_WHOLE):  # the header, the disk itself
            table.add(disk.size, at + 1, (start * SECTOR, count * SECTOR), f"sgi {kind:02x}")


def _mac(disk: DiskBytes, table: Table, block: int) -> None:
    """Apple's partition map: one entry a block, the map itself among them."""
    if block not in (512, 1024, 2048, 4096):
        return
    table.kind = "mac"
    count, at = 1, 1
    while at <= min(count, MAC_MOST):
        raw = disk.read(at * block, SECTOR)
        if len(raw) < SECTOR or raw[:2] != b"PM":
            return
        count, start, length = struct.unpack_from(">III", raw, 4)
        name, kind = (raw[place : place + 32].split(b"\0")[0].decode("mac-roman") for place in (16, 48))
        if kind not in MAC_APART:
            table.add(disk.size, at, (start * block, length * block), f"mac {kind}", label=name)
        at += 1


def _sum(raw: bytes) -> int:
    total = 0
    for (word,) in struct.iter_unpack(">H", raw):
        total ^= word
    return total


def _sun(disk: DiskBytes, table: Table, raw: bytes) -> None:
    table.kind = "sun"
    tracks, sectors = struct.unpack_from(">HH", raw, 436)
    for at in range(8):
        (kind,) = struct.unpack_from(">H", raw, 142 + 4 * at)
        cylinder, count = struct.unpack_from(">II", raw, 444 + 8 * at)
        if count and kind != WHOLE:
            place = (cylinder * tracks * sectors * SECTOR, count * SECTOR)
            table.add(disk.size, at + 1, place, f"sun {kind:02x}")


def _slices(disk: DiskBytes, start: int, label: int = SECTOR) -> Iterator[tuple[int, int, int, int]]:
    """(number in the label, offset and size in bytes, kind) of those that are used; label: its byte from `start`."""
    raw = disk.read(start + label, SECTOR)
    if len(raw) < SECTOR or raw[:4] != BSD or raw[132:136] != BSD:
        return
    (count,) = struct.unpack_from("<H", raw, 138)
    unit = struct.unpack_from("<I", raw, 40)[0] or SECTOR
    rows = [struct.unpack_from("<IIIB", raw, 148 + 16 * at) for at in range(min(count, MOST))]
    moved = start if len(rows) > 2 and rows[2][1] == 0 else 0  # FreeBSD counts from its slice, the others from the disk
    for number, (size, offset, _, kind) in enumerate(rows, 1):
        if size and kind:
            yield number, offset * unit + moved, size * unit, kind


def within(disk: DiskBytes, table: Table, outer: tuple[str, int, int], number: int) -> int:
    """What lies in a BSD slice, numbered on; the slice itself goes, being no file system. The next number."""
    name, start, length = outer
    rows = [row for row in _slices(disk, start) if (row[1], row[2]) != (start, length)]
    for _, offset, size, kind in rows:
        table.add(disk.size, number, (offset, size), f"bsd {kind:02x}")
        number += 1
    if rows and not any(offset == start for _, offset, _, _ in rows):
        table.partitions = [each for each in table.partitions if each.name != name]
    return number
