"""Partition tables: MBR with logical partitions and GPT; what does not fit is told, never followed.

Source: UEFI specification 2.10, chapter 5.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from engines.backup.files.model import DiskBytes
from engines.backup.files.volumes import labels
from engines.backup.files.volumes.table import Table

SECTOR = 512
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
UNPROTECTED = "its GPT has no protective MBR: it may be left from a former use of the disk"
BSD = (0xA5, 0xA6, 0xA9)  # FreeBSD, OpenBSD, NetBSD
LOGICAL = 60  # partitions in an extended one, as Linux names at most
GPT_ENTRIES = 1024
GPT_HEAD = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<B3xB3xII")
UNUSED = bytes(16)


def read(disk: DiskBytes, sector: int = SECTOR) -> Table:
    """The partitions of a disk, in the order of their numbers; `kind` is empty where there is no table.

    sector: bytes that an MBR counts in. A GPT without its protective MBR counts only where there is nothing else, as
    for the kernel: it may be what a former use of the disk has left.
    """
    table = Table()
    first = disk.read(0, SECTOR)
    if len(first) < SECTOR or first[510:512] != b"\x55\xaa":
        return labels.read(disk, table) or (_unprotected(disk, table) if _has_gpt(disk) else table)
    entries = [ENTRY.unpack_from(first, 446 + 16 * at) for at in range(4)]
    protected = next((start + count - 1 for _, kind, start, count in entries if kind == PROTECTIVE), 0)
    if protected and (_has_gpt(disk) or _reads(disk, protected * SECTOR)):
        return _gpt(disk, table, protected * SECTOR)
    if protected and not any(kind not in (0, PROTECTIVE) for _, kind, _, _ in entries):
        table.kind, table.trouble = "gpt", ["neither of its two copies can be read"]
        return table
    if not _believable(entries, disk.size, sector):
        return labels.read(disk, table) or (_unprotected(disk, table) if _has_gpt(disk) else table)
    table.kind = "mbr"
    _primary(disk, table, entries, (sector, struct.unpack_from("<I", first, 440)[0]))
    return table


def _primary(disk: DiskBytes, table: Table, entries: list[tuple[int, int, int, int]], unit: tuple[int, int]) -> None:
    """What the first sector lists, then what lies within: logical partitions and BSD's slices of a slice.

    unit: bytes of a sector, and the disk's own number.
    """
    sector, mark = unit
    later, number = list[tuple[str, int, int]](), 5
    for at, (_, kind, start, count) in enumerate(entries, 1):
        if not kind or not count:
            continue
        if kind in EXTENDED:
            number = _logical(disk, table, start, number, unit)
            continue
        table.add(disk.size, at, (start * sector, count * sector), f"{kind:02x}", f"{mark:08x}-{at:02x}")
        if kind in BSD:
            later.append((f"p{at}", start * sector, count * sector))
    for name, offset, size in later:
        number = labels.within(disk, table, (name, offset, size), number)
    table.partitions.sort(key=lambda each: int(each.name[1:]))


def _unprotected(disk: DiskBytes, table: Table) -> Table:
    found = _gpt(disk, table)
    found.trouble.append(UNPROTECTED)
    return found


def _believable(entries: list[tuple[int, int, int, int]], size: int, sector: int) -> bool:
    """Whether these may be a partition table: a boot sector's code has 55 AA at its end too."""
    used = [entry for entry in entries if any(entry)]
    flags = all(flag in (0, 0x80) for flag, *_ in entries)
    return flags and any(kind and start and count and start * sector < size for _, kind, start, count in used)


def _logical(disk: DiskBytes, table: Table, extended: int, number: int, unit: tuple[int, int]) -> int:
    """The chain of extended boot records; each link counts from the extended partition's start. The next number."""
    place, seen = extended, set[int]()
    sector, mark = unit
    while True:
        if place in seen:
            table.trouble.append("the chain of logical partitions goes round in a circle")
            return number
        seen.add(place)
        raw = disk.read(place * sector, SECTOR) if place * sector < disk.size else b""
        if len(raw) < SECTOR or raw[510:512] != b"\x55\xaa":
            table.trouble.append(f"the chain of logical partitions is broken at sector {place}")
            return number
        (_, kind, start, count), (_, link, following, _) = (ENTRY.unpack_from(raw, 446 + 16 * at) for at in range(2))
        if kind and count and kind not in EXTENDED:
            where = ((place + start) * sector, count * sector)
            table.add(disk.size, number, where, f"{kind:02x}", f"{mark:08x}-{number:02x}")
            number += 1
        if link not in EXTENDED or not following:
            return number
        if len(seen) >= LOGICAL:
            table.trouble.append(f"more than {LOGICAL} logical partitions; the others are left out")
            return number
        place = extended + following


# ── GPT ─────────────────────────────────────────────────────────────────────────────────────────────


def _has_gpt(disk: DiskBytes) -> bool:
    return any(_reads(disk, sector) for sector in (512, 4096)) or _at_end(disk) is not None


def _at_end(disk: DiskBytes) -> int | None:
    places = (disk.size - sector for sector in (512, 4096) if disk.size > 2 * sector)
    return next((place for place in places if _reads(disk, place)), None)


def _reads(disk: DiskBytes, place: int) -> bool:
    return disk.read(place, 8) == b"EFI PART"


@dataclass(frozen=True)
class _Copy:
    """One of the two copies of a GPT; `sound` where its checksums hold."""

    sound: bool
    sector: int
    entry: int
    raw: bytes


def _gpt(disk: DiskBytes, table: Table, former: int = 0) -> Table:
    """The first copy whose checksums hold; else the first at all, with a word about it.

    former: where the second copy lies if the disk has grown since, as its protective MBR tells.
    """
    table.kind = "gpt"
    end = _at_end(disk)
    places = [(512, 512), (4096, 4096)] + ([(end, disk.size - end)] if end is not None else [(former, 512)])
    copies = [found for place, sector in places if (found := _copy(disk, place, sector))]
    sound = [copy for copy in copies if copy.sound]
    if not sound:
        table.trouble.append("the partition table's checksums do not hold")
    for copy in (sound or copies)[:1]:
        _entries(disk, table, copy)
    return table


def _copy(disk: DiskBytes, place: int, sector: int) -> _Copy | None:
    raw = disk.read(place, sector)
    if raw[:8] != b"EFI PART" or len(raw) < GPT_HEAD.size:
        return None
    _, _, length, checksum, _, _, _, _, _, _, first, count, entry, of_entries = GPT_HEAD.unpack_from(raw)
    if not 128 <= entry <= 4096 or entry % 8 or not GPT_HEAD.size <= length <= sector:
        return None
    entries = disk.read(first * sector, min(count, GPT_ENTRIES) * entry) if first * sector < disk.size else b""
    blanked = raw[:16] + bytes(4) + raw[20:length]
    sound = zlib.crc32(blanked) == checksum and count <= GPT_ENTRIES and zlib.crc32(entries) == of_entries
    return _Copy(sound, sector, entry, entries)


def _entries(disk: DiskBytes, table: Table, copy: _Copy) -> None:
    for at in range(len(copy.raw) // copy.entry):
        raw = copy.raw[at * copy.entry : (at + 1) * copy.entry]
        if raw[:16] == UNUSED:
            continue
        first, last = struct.unpack_from("<QQ", raw, 32)
        if last < first:
            table.trouble.append(f"partition {at + 1} ends before it begins")
            continue
        size = (last - first + 1) * copy.sector
        kind, own = (str(uuid.UUID(bytes_le=raw[start : start + 16])) for start in (0, 16))
        label = raw[56:128].decode("utf-16-le", "replace").split("\0")[0]
        table.add(disk.size, at + 1, (first * copy.sector, size), kind, own, label)
