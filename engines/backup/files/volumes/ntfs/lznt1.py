"""LZNT1, the compression of NTFS files: chunks of 4 KiB, each by itself.

Source: Microsoft [MS-XCA], section 2.5.
"""

from __future__ import annotations

import struct

from engines.backup.files.model import BrowseError

CHUNK = 4096


def decompress(raw: bytes, size: int) -> bytes:
    """At most `size` bytes; what the chunks do not fill is zeros. Raises BrowseError."""
    out = bytearray()
    at = 0
    while at + 2 <= len(raw) and len(out) < size:
        head = struct.unpack_from("<H", raw, at)[0]
        if not head:
            break
        length = (head & 0xFFF) + 1
        body = raw[at + 2 : at + 2 + length]
        chunk = _chunk(body) if head & 0x8000 else body
        out += chunk.ljust(CHUNK, b"\0")
        at += 2 + length
    return bytes(out[:size]).ljust(size, b"\0")


def _chunk(body: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(body) and len(out) < CHUNK:
        flags = body[at]
        at += 1
        for bit in range(8):
            if at >= len(body):
                break
            if not flags >> bit & 1:
                out.append(body[at])
                at += 1
                continue
            if at + 2 > len(body) or not out:
                raise BrowseError("a compressed file is damaged")
            _copy(out, struct.unpack_from("<H", body, at)[0])
            at += 2
    return bytes(out[:CHUNK])


def _copy(out: bytearray, token: int) -> None:
    """Repeat what came before; the nearer the chunk's start, the more bits tell how much."""
    shift = 12
    reach = len(out) - 1
    while reach >= 16 and shift > 4:
        shift -= 1
        reach >>= 1
    length, back = (token & ((1 << shift) - 1)) + 3, (token >> shift) + 1
    if back > len(out):
        raise BrowseError("a compressed file is damaged")
    for _ in range(length):
        out.append(out[-back])
