"""The mounts that this process sees, as proc_pid_mountinfo(5) lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mounted:
    """One mount: its own number, MAJOR:MINOR of its files, where it is, its type, what is mounted, options."""

    own: str
    number: str
    folder: str
    kind: str
    source: str
    options: str


def mounts() -> Iterator[Mounted]:
    """All of them, in the order in which they were mounted. Names that are no UTF-8 are as os.fsdecode gives them."""
    text = Path("/proc/self/mountinfo").read_bytes().decode("utf-8", "surrogateescape")
    for line in text.split("\n")[:-1]:  # a name may hold what splitlines() takes for the end of a line
        front, _, back = line.partition(" - ")
        words, (kind, source, options) = front.split(" "), back.split(" ", 2)
        yield Mounted(words[0], words[2], _plain(words[4]), kind, _plain(source), options)


def _plain(text: str) -> str:
    """Octal escapes undone: space, tab, newline, backslash and #."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
