"""What could not be taken or not wholly, by name: counted, the first ones kept at hand, all of them in a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from engines.backup.files.model import shown
from engines.job.errors import Failed

KEPT = 500  # lines in the report; the file holds all
TOLD = 20  # warnings of a run; a terminal at 3 a.m. is no place for thousands


class Notes:
    """Told by path. A full state disk costs the file, never the run."""

    def __init__(self, file: Path) -> None:
        self.file: Path | None = file
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self._told = 0

    def __call__(self, path: bytes, what: str) -> None:
        """`what` reads on after the path: "cannot be listed"."""
        line = f"{shown(path)} {what}"
        self.counts[what] += 1
        if len(self.lines) < KEPT:
            self.lines.append(line)
        if self.file is None:
            return
        try:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError:
            self.file = None

    def unlisted(self, path: bytes, error: Failed) -> None:
        """A folder that a pattern goes over, and that cannot be listed."""
        self(path, f"cannot be listed to its end: {error.why}")

    @property
    def total(self) -> int:
        """How many."""
        return sum(self.counts.values())

    def fresh(self) -> list[str]:
        """Lines that were not told yet, few enough to read."""
        found = self.lines[self._told : TOLD]
        self._told = max(self._told, min(len(self.lines), TOLD))
        return found

    def rest(self) -> str:
        """What was not told line by line; empty for nothing."""
        if self.total <= TOLD:
            return ""
        common = "; ".join(f"{count} x {what}" for what, count in self.counts.most_common(3))
        return f"and {self.total - TOLD} more ({common}); all of them: {self.file or 'in the report'}"

    def last(self) -> list[str]:
        """What is still to be told at the end of a run: nothing that was left out goes without a word."""
        return [*self.fresh(), *filter(None, [self.rest()])]

    def text(self) -> str:
        """For the report."""
        more = self.total - len(self.lines)
        there = f": {self.file}" if self.file else ", which the full state disk did not take"
        return "\n".join([*self.lines, f"and {more} more{there}"] if more else self.lines)
