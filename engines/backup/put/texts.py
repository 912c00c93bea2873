"""Two versions of a text file as a plan can show them: in UTF-8, in UTF-16 as Windows writes it, or in Latin-1."""

from __future__ import annotations

import re

MARKS = (b"\xff\xfe", b"\xfe\xff")
BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x9f]")  # what no text in Latin-1 has in it


def pair(old: bytes, new: bytes) -> tuple[str, str] | None:
    """Both, decoded alike so that what differs shows; None for no texts, and where a decoder takes them for one."""
    found = next((both for encoding in ("utf-8", "utf-16", "latin-1") if (both := _decoded(old, new, encoding))), None)
    return found if found and found[0] != found[1] else None


def _decoded(old: bytes, new: bytes, encoding: str) -> tuple[str, str] | None:
    """None where one of them is not written so; an empty file is written in any way."""
    sides = [each for each in (old, new) if each]
    if encoding == "utf-8" and any(b"\0" in each for each in sides):
        return None
    if encoding == "utf-16" and not all(each.startswith(MARKS) for each in sides):
        return None
    if encoding == "latin-1" and any(BINARY.search(each) for each in sides):
        return None
    try:
        texts = old.decode(encoding), new.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if any("\0" in each for each in texts) else texts
