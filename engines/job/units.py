"""Bytes, rates, times and names, in words for people: one way to say each, on every screen and in every report."""

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


def amount(done: int, total: int, unit: str) -> str:
    """`12/23 MiB`, or the plain numbers with their unit where they are not bytes."""
    if unit != "bytes":
        return f"{done}/{total} {unit}"
    power, name = next(
        (pair for pair in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")) if total >= 4 * pair[0]), (1, "bytes")
    )
    return f"{done // power}/{total // power} {name}"


def span(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


MARKDOWN = re.compile(r"[`*<|]|\\(?=[^\w\s])|\](?=\()|^[#>+-]|(?<!\w)_|_(?!\w)|~(?=~)")
ESCAPED = re.compile(r"\\([\\`*<|\]#>+\-_~])")


def one_line(text: str) -> str:
    """Text with control characters shown as escapes, so that no name can break a line or a terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in text)


def clean(text: str) -> str:
    """Text of several lines for a terminal, a table or a fence: as `one_line`, but for newlines and tabs."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or char.isprintable() else _escape(char) for char in text)


def marked(text: str) -> str:
    """A name or sentence of somebody else for Markdown: on one line, and no mark in it means anything."""
    return MARKDOWN.sub(lambda found: "\\" + found[0], one_line(text))


def unmarked(text: str) -> str:
    """What `marked` was given, on one line."""
    return ESCAPED.sub(r"\1", text)


def _escape(char: str) -> str:
    return repr(char)[1:-1]
