"""File records of NTFS and the attributes in them.

Source: the Linux-NTFS project's documentation (FILE record, attribute header, data runs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from engines.backup.files.model import BrowseError

INFORMATION, LIST, NAME, DATA, INDEX_ROOT, INDEX, BITMAP, REPARSE = 0x10, 0x20, 0x30, 0x80, 0x90, 0xA0, 0xB0, 0xC0
END = 0xFFFFFFFF
IN_USE, FOLDER = 0x1, 0x2
COMPRESSED, ENCRYPTED = 0x00FF, 0x4000  # attribute flags
STRIDE = 512  # bytes that an update sequence number guards
RECORD = (1 << 48) - 1  # the record's number in a reference; its sequence is above


class ClusterRun(NamedTuple):
    """`length` clusters from cluster `first` of a stream; `place` on the volume, None for a hole."""

    first: int
    length: int
    place: int | None


class Attribute(NamedTuple):
    """One attribute, or one part of it. `value` where it is in the record, else `runs`; sizes in bytes."""

    type: int
    name: str
    flags: int
    value: bytes | None
    runs: tuple[ClusterRun, ...] = ()
    size: int = 0
    initialised: int = 0
    unit: int = 0
    first: int = 0


class FileRecord(NamedTuple):
    """One file record."""

    number: int
    sequence: int
    flags: int
    base: int
    attributes: tuple[Attribute, ...]


def mended(raw: bytes, magic: bytes, what: str) -> bytes:
    """A record with its sectors' last words put back. Raises BrowseError for a torn one or none."""
    if raw[:4] != magic:
        raise BrowseError(f"{what} is damaged: it does not begin with {magic.decode()}")
    at, count = struct.unpack_from("<HH", raw, 4)
    if at + 2 * count > len(raw) or (count - 1) * STRIDE > len(raw) or not count:
        raise BrowseError(f"{what} is damaged: its update sequence lies outside")
    copy = bytearray(raw)
    for number in range(1, count):
        end = number * STRIDE
        if raw[end - 2 : end] != raw[at : at + 2]:
            raise BrowseError(f"{what} was written only in part")
        copy[end - 2 : end] = raw[at + 2 * number : at + 2 * number + 2]
    return bytes(copy)


def parse(raw: bytes, number: int) -> FileRecord:
    """A file record. Raises BrowseError."""
    what = f"file record {number}"
    raw = mended(raw, b"FILE", what)
    sequence, _, at, flags = struct.unpack_from("<HHHH", raw, 16)
    base = struct.unpack_from("<Q", raw, 32)[0] & RECORD
    return FileRecord(number, sequence, flags, base, tuple(_attributes(raw, at, what)))


def _attributes(raw: bytes, at: int, what: str) -> Iterator[Attribute]:
    while at + 16 <= len(raw):
        kind, length, away, named, name_at, flags = struct.unpack_from("<IIBBHH", raw, at)
        if kind == END:
            return
        if length < 24 or at + length > len(raw):
            raise BrowseError(f"{what} is damaged: an attribute reaches outside")
        body = raw[at : at + length]
        name = body[name_at : name_at + 2 * named].decode("utf-16-le", "replace")
        yield _away(body, kind, name, flags, what) if away else _here(body, kind, name, flags, what)
        at += length


def _here(body: bytes, kind: int, name: str, flags: int, what: str) -> Attribute:
    size, start = struct.unpack_from("<IH", body, 16)
    if start + size > len(body):
        raise BrowseError(f"{what} is damaged: an attribute's value reaches outside")
    return Attribute(kind, name, flags, body[start : start + size], size=size, initialised=size)


def _away(body: bytes, kind: int, name: str, flags: int, what: str) -> Attribute:
    if len(body) < 64:
        raise BrowseError(f"{what} is damaged: an attribute is too short")
    first, _, pairs, unit = struct.unpack_from("<QQHB", body, 16)
    size, initialised = struct.unpack_from("<QQ", body, 48)
    if unit > 16 or first >= 1 << 48 or size >= 1 << 63:
        raise BrowseError(f"{what} is damaged: an attribute has impossible sizes")
    runs = tuple(_runs(body[pairs:], first, what))
    return Attribute(kind, name, flags, None, runs, size, min(initialised, size), unit, first)


def _runs(pairs: bytes, vcn: int, what: str) -> Iterator[ClusterRun]:
    at, place = 0, 0
    while at < len(pairs) and pairs[at]:
        counts, places = pairs[at] & 15, pairs[at] >> 4
        middle, end = at + 1 + counts, at + 1 + counts + places
        length = int.from_bytes(pairs[at + 1 : middle], "little", signed=True)
        if end > len(pairs) or not 0 < counts <= 8 or places > 8 or not 0 < length < 1 << 48:
            raise BrowseError(f"{what} is damaged: its runs cannot be read")
        place += int.from_bytes(pairs[middle:end], "little", signed=True)
        if not 0 <= place < 1 << 48:
            raise BrowseError(f"{what} is damaged: a run lies outside")
        yield ClusterRun(vcn, length, place if places else None)
        vcn, at = vcn + length, end


def joined(parts: list[Attribute]) -> list[Attribute]:
    """Attributes that lie in several records made whole, in the order of their first parts."""
    found: dict[tuple[int, str, int], list[Attribute]] = {}
    for at, part in enumerate(parts):
        found.setdefault((part.type, part.name, at if part.value is not None else -1), []).append(part)
    whole = []
    for each in found.values():
        each.sort(key=lambda part: part.first)
        runs = tuple(run for part in each for run in part.runs)
        whole.append(each[0]._replace(runs=runs) if len(each) > 1 else each[0])
    return whole
