"""The entries of an NTFS folder: its root, then every index block that is in use, in the disk's order.

Source: the Linux-NTFS project's documentation ($INDEX_ROOT, $INDEX_ALLOCATION). Each name stands in one place only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.ntfs.record import mended

DOS = 2  # name space of the short names that a longer one stands beside
LAST = 0x2  # entry flag


def of_root(value: bytes, what: str) -> Iterator[tuple[bytes, int]]:
    """(name, reference) of the entries in $INDEX_ROOT."""
    if len(value) < 32:
        raise BrowseError(f"{what} is damaged: its index is too short")
    yield from _entries(value, 16, what)


def of_block(raw: bytes, what: str) -> Iterator[tuple[bytes, int]]:
    """(name, reference) of the entries in one index block."""
    yield from _entries(mended(raw, b"INDX", what), 24, what)


def block_size(value: bytes) -> int:
    """Bytes of an index block, as $INDEX_ROOT says it."""
    size: int = struct.unpack_from("<I", value, 8)[0] if len(value) >= 12 else 0
    if not 512 <= size <= 65536 or size & (size - 1):
        raise BrowseError(f"a folder's index has blocks of {size} bytes")
    return size


def _entries(raw: bytes, head: int, what: str) -> Iterator[tuple[bytes, int]]:
    start, length = struct.unpack_from("<II", raw, head)
    at, end = head + start, min(head + length, len(raw))
    while at + 16 <= end:
        reference, size, key, flags = struct.unpack_from("<QHHH", raw, at)
        if flags & LAST:
            return
        if size < 16 or at + size > end or key < 66 or 16 + key > size:
            raise BrowseError(f"{what} is damaged at byte {at} of its index")
        letters, space = raw[at + 80], raw[at + 81]
        name = raw[at + 82 : at + 82 + 2 * letters]
        if space != DOS and len(name) == 2 * letters and 66 + len(name) <= key:
            decoded = name.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
            if decoded not in (b".", b"..") and b"/" not in decoded and b"\0" not in decoded:
                yield decoded, reference
        at += size
