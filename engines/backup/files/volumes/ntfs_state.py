"""An NTFS volume's label and whether it was left clean, from three records of its file table.

Source: Linux-NTFS documentation (boot sector, $Volume, $LogFile restart area).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engines.backup.files.volumes.window import Window

LOG_FILE, VOLUME = 2, 3  # record numbers
NAME, INFORMATION, DATA = 0x60, 0x70, 0x80  # attribute types
NO_CLIENT = 0xFFFF
CLEAN = 0x2  # restart area flag


def read(part: Window) -> tuple[str, str]:
    """(label, why it is dirty); both empty where the records do not say."""
    boot = part.read(0, 512)
    sector, cluster = struct.unpack_from("<HB", boot, 11)
    cluster = cluster if cluster <= 128 else 1 << (256 - cluster)
    table, per_record = struct.unpack_from("<Q", boot, 48)[0], struct.unpack_from("<b", boot, 64)[0]
    unit = sector * cluster
    size = per_record * unit if per_record > 0 else 1 << min(-per_record, 16)
    if sector not in (512, 1024, 2048, 4096) or not 512 <= size <= 65536 or table * unit >= part.size:
        return "", ""
    label, dirty = "", ""
    for kind, content, _ in _attributes(_record(part, table * unit + VOLUME * size, size, sector)):
        if kind == NAME:
            label = content.decode("utf-16-le", "replace")
        elif kind == INFORMATION and len(content) >= 12 and content[10] & 1:
            dirty = "not unmounted cleanly"
    for kind, _, place in _attributes(_record(part, table * unit + LOG_FILE * size, size, sector)):
        if kind == DATA and place and not _clean(part.read(place * unit, 4096)):
            dirty = "journal not replayed"
    return label, dirty


def _record(part: Window, place: int, size: int, sector: int) -> bytes:
    """A file record with its update sequence taken out; empty where it is none."""
    raw = bytearray(part.read(place, size))
    if len(raw) < size or raw[:4] != b"FILE":
        return b""
    at, count = struct.unpack_from("<HH", raw, 4)
    if at + 2 * count > size or (count - 1) * sector > size:
        return b""
    for number in range(1, count):
        raw[number * sector - 2 : number * sector] = raw[at + 2 * number : at + 2 * number + 2]
    return bytes(raw)


def _attributes(record: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(type, content where it is in the record, first cluster where it is not)."""
    at = struct.unpack_from("<H", record, 20)[0] if record else 0
    while record and at + 24 <= len(record):
        kind, length, away = struct.unpack_from("<IIB", record, at)
        if kind == 0xFFFFFFFF or length < 24 or at + length > len(record):
            return
        if away:
            runs = struct.unpack_from("<H", record, at + 32)[0]
            yield kind, b"", _first_cluster(record[at + runs : at + length])
        else:
            size, start = struct.unpack_from("<IH", record, at + 16)
            yield kind, record[at + start : at + start + size] if start + size <= length else b"", 0
        at += length


def _first_cluster(runs: bytes) -> int:
    if not runs or not runs[0]:
        return 0
    count, place = runs[0] & 15, runs[0] >> 4
    return int.from_bytes(runs[1 + count : 1 + count + place], "little", signed=True) if place else 0


def _clean(page: bytes) -> bool:
    """Whether a log's restart page says that nothing waits in it; an emptied log is all FF."""
    if page[:4] != b"RSTR":
        return page[:4] in (b"\xff\xff\xff\xff", b"")
    area = struct.unpack_from("<H", page, 24)[0]
    if area + 16 > len(page):
        return False
    used, flags = struct.unpack_from("<HH", page, area + 12)
    return used == NO_CLIENT or bool(flags & CLEAN)
