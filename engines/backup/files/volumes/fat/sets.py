"""The entries of a folder in exFAT: sets of a file, its stream and its name; tables of the system are no files.

Source: exFAT file system specification (Microsoft Learn), chapters 6 and 7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engines.backup.files.volumes.fat.item import Item, moment, text

FILE, STREAM, NAME, LABEL = 0x85, 0xC0, 0xC1, 0x83
NO_CHAIN = 0x02


def items(raw: bytes, place: int) -> Iterator[Item]:
    """What a guest sees in a folder of these bytes; `place`: where they begin."""
    at = 0
    while at + 32 <= len(raw) and raw[at]:
        count = raw[at + 1]
        if raw[at] == FILE and at + 32 * (count + 1) <= len(raw) and raw[at + 32] == STREAM:
            yield _item(raw[at : at + 32 * (count + 1)], place + at)
            at += 32 * count
        at += 32


def label(raw: bytes) -> str:
    """The volume's label in the root folder."""
    for at in range(0, len(raw) - 31, 32):
        if raw[at] == 0:
            break
        if raw[at] == LABEL:
            return raw[at + 2 : at + 2 + 2 * min(raw[at + 1], 11)].decode("utf-16-le", "replace")
    return ""


def _item(raw: bytes, place: int) -> Item:
    attributes = struct.unpack_from("<H", raw, 4)[0]
    _, modified, modified_day, accessed, accessed_day = struct.unpack_from("<IHHHH", raw, 8)
    flags, length = raw[33], raw[35]
    valid, cluster, size = struct.unpack_from("<Q4xIQ", raw, 40)
    parts = [raw[at + 2 : at + 32] for at in range(64, len(raw), 32) if raw[at] == NAME]
    return Item(
        name=text(b"".join(parts)[: 2 * length]),
        attributes=attributes,
        cluster=cluster,
        size=size,
        place=place,
        mtime=moment(modified_day, modified, raw[21], raw[23]),
        atime=moment(accessed_day, accessed, 0, raw[24]),
        chained=not flags & NO_CHAIN,
        valid=valid,
    )
