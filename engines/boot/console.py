"""A serial line's bytes as the lines that were meant: mended where the kernel, or a cursor, broke them."""

from __future__ import annotations

import re

from engines.boot.screen import plain

# A return in front of a cursor that is moved to the right writes on in its line, as SUSE's "failed" does.
WITHIN = re.compile(r"(?<!\r)\r++(?=\n|\x1b\[\d{1,4}[CG])")
CALLER = r"(?:\[ *[TC]\d{1,10}\])?"  # the thread or processor that speaks, behind the time
KERNEL = re.compile(rf"(?:<\d{{1,2}}>)?\[ *\d{{1,9}}\.\d{{6}}\]{CALLER} ")


def spoken(said: bytes) -> str:
    """The text. A return alone begins a line: systemd's counting of seconds is as many lines."""
    text = WITHIN.sub("", said.decode("utf-8", "replace")).replace("\r", "\n")
    return unbroken(plain(text))


def unbroken(text: str) -> str:
    """`text` with each message of a timed kernel on a line of its own, and what it fell into whole behind it."""
    made, begun = [], ""
    for line in text.split("\n"):
        found = KERNEL.search(line)
        if found is None:
            made.append(begun + line)
            begun = ""
        else:
            begun += line[: found.start()]
            made.append(line[found.start() :])
    return "\n".join([*made, begun] if begun else made)
