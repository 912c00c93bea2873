"""The entries of a folder in FAT12, FAT16 and FAT32: short names, and the long ones before them.

Source: Microsoft, FAT32 File System Specification 1.03.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engines.backup.files.volumes.fat.item import Item, moment, text

LABEL, LONG = 0x08, 0x0F
DELETED, LAST = 0xE5, 0x40
LOWER_BASE, LOWER_EXTENSION = 0x08, 0x10
ENTRY = struct.Struct("<8s3sBBBHHHHHHHI")
MOST = 20  # entries of a long name


class Long:
    """A long name as it is put together, its last part first."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._next = 0
        self._sum = -1

    def add(self, raw: bytes) -> None:
        """One more part; one that does not follow spoils all."""
        order = raw[0]
        if order & LAST:
            self._parts, self._next, self._sum = [], order & ~LAST, raw[13]
        if not self._next or self._next > MOST or order & ~LAST != self._next or raw[13] != self._sum:
            self.clear()
            return
        self._parts.insert(0, raw[1:11] + raw[14:26] + raw[28:32])
        self._next -= 1

    def clear(self) -> None:
        """Forget it."""
        self._parts, self._next, self._sum = [], 0, -1

    def of(self, short: bytes) -> bytes:
        """The name, if it belongs to that short one; empty if not."""
        if not self._parts or self._next or self._sum != checksum(short):
            return b""
        raw = b"".join(self._parts)
        end = next((at for at in range(0, len(raw), 2) if raw[at : at + 2] == b"\0\0"), len(raw))
        return text(raw[:end])


def checksum(short: bytes) -> int:
    """Of the eleven bytes of a short name."""
    found = 0
    for byte in short:
        found = ((found & 1) << 7) + (found >> 1) + byte & 0xFF
    return found


def items(raw: bytes, place: int) -> Iterator[Item]:
    """What a guest sees in a folder of these bytes; `place`: where they begin."""
    long = Long()
    for at in range(0, len(raw) - 31, 32):
        first, kind = raw[at], raw[at + 11]
        if first == 0:
            return
        if first == DELETED:
            long.clear()
        elif kind & 0x3F == LONG:
            long.add(raw[at : at + 32])
        else:
            if not kind & LABEL and raw[at : at + 11] not in (b".          ", b"..         "):
                yield _item(raw[at : at + 32], long.of(raw[at : at + 11]), place + at)
            long.clear()


def label(raw: bytes) -> bytes | None:
    """The volume's label in the root folder; None where there is none."""
    for at in range(0, len(raw) - 31, 32):
        if raw[at] == 0:
            break
        if raw[at] != DELETED and raw[at + 11] & 0x3F != LONG and raw[at + 11] & (LABEL | 0x10) == LABEL:
            return raw[at : at + 11].replace(b"\x05", b"\xe5", 1) if raw[at] == 5 else raw[at : at + 11]
    return None


def _item(raw: bytes, long: bytes, place: int) -> Item:
    base, extension, kind, case, _, _, _, accessed, high, time, date, low, size = ENTRY.unpack(raw)
    return Item(
        name=long or _short(base, extension, case),
        attributes=kind,
        cluster=high << 16 | low,
        size=0 if kind & 0x10 else size,
        place=place,
        mtime=moment(date, time),
        atime=moment(accessed),
    )


def _short(base: bytes, extension: bytes, case: int) -> bytes:
    base = b"\xe5" + base[1:] if base[:1] == b"\x05" else base
    stem, suffix = (part.decode("cp437").rstrip(" ") for part in (base, extension))
    stem = stem.lower() if case & LOWER_BASE else stem
    suffix = suffix.lower() if case & LOWER_EXTENSION else suffix
    return (f"{stem}.{suffix}" if suffix else stem).encode()
