"""A guest's configuration is read where a person or a tool could have written it: its editors' work has an end so."""

from __future__ import annotations

import re

LINE = 8192  # bytes of one; a kernel takes 2048
LINES = 20_000
BLANKS = 1000  # in a row, newlines among them
LONGER = {"/var/cache/debconf/config.dat": 65536}  # a line of it holds every locale


def unfit(content: bytes, path: str = "") -> str:
    """Why a text is not looked into; empty where it is. path: in the guest, for those whose tools write long lines."""
    longest = LONGER.get(path, LINE)
    if content.count(b"\n") > LINES:
        return f"has over {LINES} lines"
    if max(map(len, content.split(b"\n"))) > longest:
        return f"has a line of over {longest} bytes"
    if max(map(len, re.findall(rb"\s+", content)), default=0) > BLANKS:
        return f"has over {BLANKS} blanks in a row"
    return ""
