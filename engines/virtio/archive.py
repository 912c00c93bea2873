"""What an initrd holds: cpio archives one behind the other, plain or compressed, as the kernel unpacks them."""

from __future__ import annotations

import bz2
import importlib
import lzma
import re
import zlib
from typing import Any

NEWC = (b"070701", b"070702")
HEADER = 110  # bytes; six of magic, thirteen fields of eight hex digits
FIELDS = re.compile(rb"[0-9A-Fa-f]{104}")
MOST = 1 << 30  # bytes unpacked; more is no initrd
BLANK = re.compile(rb"\0+")  # between archives
MANY = 100_000  # paths; a rescue initrd has 5,000
DEEPEST = 4  # archives in archives; the kernel itself takes one in another
WINDOW = 128 << 20  # bytes that a decompressor may remember of what it has written


def names(data: bytes, deep: int = 0) -> list[str]:
    """Paths in the archive, without a leading ./ or /. Raises ValueError on what is no initrd.

    deep: how many archives it lies in.
    """
    if deep > DEEPEST:
        raise ValueError(f"{deep} archives lie in one another, as in one made to do harm")
    found: list[str] = []
    at = archives = 0
    while at < len(data):
        if data[at : at + 6] in NEWC:
            archives += 1
            if archives > MANY:
                raise ValueError(f"over {MANY} archives stand behind one another, as in one made to do harm")
            at = _entries(data, at, found)
        elif blank := BLANK.match(data, at):
            at = blank.end()
        else:
            return found + names(_unpacked(data[at:]), deep + 1)
    return found


def _entries(data: bytes, at: int, found: list[str]) -> int:
    while data[at : at + 6] in NEWC:
        header = data[at : at + HEADER]
        if not FIELDS.fullmatch(header, 6):  # int() takes a sign, too, which would lead back
            raise ValueError("a damaged cpio header")
        if len(found) >= MANY:
            raise ValueError(f"over {MANY} paths, as in one made to do harm")
        size, length = int(header[54:62], 16), int(header[94:102], 16)
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
            return _whole(zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, MOST + 1))
        if data[:6] == b"\xfd7zXZ\0" or data[:3] == b"]\0\0":
            return _whole(lzma.LZMADecompressor(memlimit=2 * WINDOW).decompress(data, MOST + 1))
        if data[:3] == b"BZh":
            return _whole(bz2.BZ2Decompressor().decompress(data, MOST + 1))
        if data[:4] == b"\x28\xb5\x2f\xfd":
            return _whole(_by_zstandard(data))
    except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError) as error:
        raise ValueError(f"its compression is damaged: {error}") from None
    raise ValueError(f"it begins with {data[:6].hex()}, which is no initrd")


def _whole(unpacked: bytes) -> bytes:
    if len(unpacked) > MOST:
        raise ValueError(f"it unpacks to more than {MOST >> 20} MiB, as one made to do harm")
    return unpacked


def _by_zstandard(data: bytes) -> bytes:
    known: Any
    try:
        known = importlib.import_module("zstandard")
    except ImportError:
        raise ValueError("it is compressed by zstd; pip install zstandard") from None
    try:
        with known.ZstdDecompressor(max_window_size=WINDOW).stream_reader(data) as reader:
            unpacked: bytes = reader.read(MOST + 1)
            return unpacked
    except known.ZstdError as error:
        raise ValueError(f"its compression is damaged: {error}") from None
