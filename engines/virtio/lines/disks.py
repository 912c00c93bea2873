"""The disk's two names, matched exactly: /dev/hda3 is the disk's; /dev/hdab, LABEL=SWAP-hda2, hda alone are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

Edit = Callable[[str, "Disks"], str]


@dataclass(frozen=True)
class Disks:
    """Names without /dev/, such as hda and vda."""

    old: str
    new: str

    @cached_property
    def device(self) -> re.Pattern[str]:
        """The old disk or a partition of it, not as part of a longer name or path."""
        return re.compile(rf"(?<![\w/.-])/dev/{re.escape(self.old)}(?=\d*(?![\w/.-]))")

    def named_in(self, text: str) -> bool:
        """Whether text names the old disk."""
        return self.device.search(text) is not None

    def renamed(self, text: str) -> str:
        """Every naming of the old disk in text, with the new name."""
        return self.device.sub(f"/dev/{self.new}", text)

    def whole(self, word: str) -> str:
        """A word that is the disk or a partition, renamed; any other word as it is."""
        found = self.device.match(word)
        return self.renamed(word) if found and word[found.end() :].strip("0123456789") == "" else word


def split(text: str) -> list[str]:
    """Lines with their endings, broken at line feeds only: a carriage return stays with its line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def comment(line: str) -> bool:
    """Whether a line is empty or a comment."""
    return line.strip() == "" or line.lstrip().startswith("#")
