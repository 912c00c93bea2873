"""Partition tables: MBR with logical partitions and GPT; what does not fit is told, never followed.

Source: UEFI specification 2.10, chapter 5.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass, field

from engines.backup.files.model import Source

SECTOR = 512
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
LOGICAL = 60  # partitions in an extended one, as Linux names at most
GPT_ENTRIES = 1024
GPT_HEAD = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<B3xB3xII")
UNUSED = bytes(16)


@dataclass(frozen=True)
class Partition:
    """Where it lies, in bytes; `size` never reaches beyond the disk. `type` as the table gives it."""

    name: str
    offset: int
    size: int
    type: str


@dataclass
class Table:
    """`kind` is gpt, mbr or empty for none; `trouble` says what of it could not be believed."""

    kind: str = ""
    partitions: list[Partition] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def add(self, disk: int, number: int, offset: int, size: int, type_: str) -> None:
        """Take a partition, cut off at the end of the disk."""
        if offset >= disk:
            self.trouble.append(f"partition {number} begins at byte {offset}, beyond the end of the disk")
            return
        if offset + size > disk:
            self.trouble.append(f"partition {number} reaches {offset + size - disk} bytes beyond the end of the disk")
        self.partitions.append(Partition(f"p{number}", offset, min(size, disk - offset), type_))


def read(disk: Source) -> Table:
    """The partitions of a disk, in the order of their numbers; `kind` is empty where there is no table."""
    table = Table()
    first = disk.read(0, SECTOR)
    if len(first) < SECTOR or first[510:512] != b"\x55\xaa":
        return _gpt(disk, table) if _has_gpt(disk) else table
    entries = [ENTRY.unpack_from(first, 446 + 16 * at) for at in range(4)]
    if any(kind == PROTECTIVE for _, kind, _, _ in entries) and _has_gpt(disk):
        return _gpt(disk, table)
    if not _believable(entries, disk.size):
        return table
    table.kind = "mbr"
    for at, (_, kind, start, count) in enumerate(entries, 1):
        if not kind or not count:
            continue
        if kind in EXTENDED:
            _logical(disk, table, start)
        else:
            table.add(disk.size, at, start * SECTOR, count * SECTOR, f"{kind:02x}")
    table.partitions.sort(key=lambda each: int(each.name[1:]))
    return table


def _believable(entries: list[tuple[int, int, int, int]], size: int) -> bool:
    """Whether these may be a partition table: a boot sector's code has 55 AA at its end too."""
    used = [entry for entry in entries if any(entry)]
    flags = all(flag in (0, 0x80) for flag, *_ in entries)
    return flags and any(kind and start and count and start * SECTOR < size for _, kind, start, count in used)


def _logical(disk: Source, table: Table, extended: int) -> None:
    """The chain of extended boot records; each link counts from the extended partition's start."""
    place, seen, number = extended, set[int](), 5
    while True:
        if place in seen:
            table.trouble.append("the chain of logical partitions goes round in a circle")
            return
        seen.add(place)
        raw = disk.read(place * SECTOR, SECTOR) if place * SECTOR < disk.size else b""
        if len(raw) < SECTOR or raw[510:512] != b"\x55\xaa":
            table.trouble.append(f"the chain of logical partitions is broken at sector {place}")
            return
        (_, kind, start, count), (_, link, following, _) = (ENTRY.unpack_from(raw, 446 + 16 * at) for at in range(2))
        if kind and count and kind not in EXTENDED:
            table.add(disk.size, number, (place + start) * SECTOR, count * SECTOR, f"{kind:02x}")
            number += 1
        if link not in EXTENDED or not following:
            return
        if len(seen) >= LOGICAL:
            table.trouble.append(f"more than {LOGICAL} logical partitions; the others are left out")
            return
        place = extended + following


# ── GPT ─────────────────────────────────────────────────────────────────────────────────────────────


def _has_gpt(disk: Source) -> bool:
    return any(disk.read(sector, 8) == b"EFI PART" for sector in (512, 4096)) or _at_end(disk) is not None


def _at_end(disk: Source) -> int | None:
    places = (disk.size - sector for sector in (512, 4096) if disk.size > 2 * sector)
    return next((place for place in places if disk.read(place, 8) == b"EFI PART"), None)


@dataclass(frozen=True)
class _Copy:
    """One of the two copies of a GPT; `sound` where its checksums hold."""

    sound: bool
    sector: int
    entry: int
    raw: bytes


def _gpt(disk: Source, table: Table) -> Table:
    """The first copy whose checksums hold; else the first at all, with a word about it."""
    table.kind = "gpt"
    end = _at_end(disk)
    places = [(512, 512), (4096, 4096)] + ([(end, disk.size - end)] if end is not None else [])
    copies = [found for place, sector in places if (found := _copy(disk, place, sector))]
    sound = [copy for copy in copies if copy.sound]
    if not sound:
        table.trouble.append("the partition table's checksums do not hold")
    for copy in (sound or copies)[:1]:
        _entries(disk, table, copy)
    return table


def _copy(disk: Source, place: int, sector: int) -> _Copy | None:
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


def _entries(disk: Source, table: Table, copy: _Copy) -> None:
    for at in range(len(copy.raw) // copy.entry):
        raw = copy.raw[at * copy.entry : (at + 1) * copy.entry]
        if raw[:16] == UNUSED:
            continue
        first, last = struct.unpack_from("<QQ", raw, 32)
        if last < first:
            table.trouble.append(f"partition {at + 1} ends before it begins")
            continue
        size = (last - first + 1) * copy.sector
        table.add(disk.size, at + 1, first * copy.sector, size, str(uuid.UUID(bytes_le=raw[:16])))
