"""Bytes, rates and names, in words for people."""

from __future__ import annotations

import re

SUFFIX = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SIZE = re.compile(r"(\d{1,12})([KMG]?)")


def size(count: float) -> str:
    """1536 -> 1.5 KiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def one_line(text: str) -> str:
    """Text with control characters shown as escapes, so that no name can break a line or a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
