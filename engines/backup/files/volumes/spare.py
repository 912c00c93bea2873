"""A boot sector that is damaged, read from the copy that NTFS, exFAT and FAT32 keep of it.

Sources: Linux-NTFS documentation (the last sector); exFAT specification, 3.1 (sector 12); FAT32 specification (6).
"""

from __future__ import annotations

from typing_extensions import override

from engines.backup.files.volumes.window import Window

SECTOR = 512
COPIES = ((3, b"NTFS    ", -SECTOR), (3, b"EXFAT   ", 12 * SECTOR), (82, b"FAT32", 6 * SECTOR))
MARKS = (*((at, mark) for at, mark, _ in COPIES), (54, b"FAT"))


class Headed(Window):
    """`part` with another first sector."""

    def __init__(self, part: Window, head: bytes) -> None:
        super().__init__(part, 0, part.size)
        self._head = head

    @override
    def read(self, offset: int, length: int) -> bytes:
        found = super().read(offset, length)
        return self._head[offset : offset + len(found)] + found[SECTOR - offset :] if offset < SECTOR else found


def sound(part: Window) -> Window:
    """The same where its boot sector is one, or there is no copy; else with the copy in its place."""
    if _is_boot(part.read(0, SECTOR)):
        return part
    for at, mark, place in COPIES:
        raw = part.read(place if place >= 0 else part.size + place, SECTOR) if part.size > 16 * SECTOR else b""
        if len(raw) == SECTOR and raw[at : at + len(mark)] == mark and raw[510:] == b"\x55\xaa":
            return Headed(part, raw)
    return part


def _is_boot(raw: bytes) -> bool:
    return raw[510:] == b"\x55\xaa" and any(raw[at : at + len(mark)] == mark for at, mark in MARKS)
