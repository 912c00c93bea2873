"""Bytes and rates for people."""

from __future__ import annotations


def size(count: float) -> str:
    """1536 -> 1.5 KiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
