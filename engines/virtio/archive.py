"""What an initrd holds: cpio archives one behind the other, plain or compressed, as the kernel unpacks them."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from typing import Any

NEWC = (b"070701", b"070702")
HEADER = 110  # bytes; six of magic, thirteen fields of eight hex digits
MOST = 1 << 30  # bytes unpacked; more is no initrd


def names(data: bytes) -> list[str]:
    """Paths in the archive, without a leading ./ or /. Raises ValueError on what is no initrd."""
    found: list[str] = []
    at = 0
    while at < len(data):
        if data[at : at + 6] in NEWC:
            at = _entries(data, at, found)
        elif data[at : at + 1] == b"\0":
            at += 1
        else:
            return found + names(_unpacked(data[at:]))
    return found


def _entries(data: bytes, at: int, found: list[str]) -> int:
    while data[at : at + 6] in NEWC:
        header = data[at : at + HEADER]
        try:
            size, length = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise ValueError("a damaged cpio header") from None
        name = data[at + HEADER : at + HEADER + length - 1].decode("utf-8", "replace")
        at = _aligned(_aligned(at + HEADER + length) + size)
        if name == "TRAILER!!!":
            return at
        found.append(name.removeprefix("./").lstrip("/"))
    raise ValueError("a cpio archive without its trailer")


def _aligned(at: int) -> int:
    return (at + 3) & ~3


def _unpacked(data: bytes) -> bytes:
    try:
        if data[:2] == b"\x1f\x8b":
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, MOST)
        if data[:6] == b"\xfd7zXZ\0" or data[:3] == b"]\0\0":
            return lzma.LZMADecompressor().decompress(data, MOST)
        if data[:3] == b"BZh":
            return bz2.BZ2Decompressor().decompress(data, MOST)
        if data[:4] == b"\x28\xb5\x2f\xfd":
            unpacked: bytes = _zstandard().ZstdDecompressor().decompressobj().decompress(data)
            return unpacked
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise ValueError(f"its compression is damaged: {error}") from None
    raise ValueError(f"it begins with {data[:6].hex()}, which is no initrd")


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        raise ValueError("it is compressed by zstd; pip install zstandard") from None
