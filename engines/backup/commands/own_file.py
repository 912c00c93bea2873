"""Which file a run wrote, noted before it has its name, with the run that began the work: undo removes no other."""

from __future__ import annotations

import os
from pathlib import Path

from engines.host.files import content_stamp

NOTE = "written.txt"  # beside the journal of the run that began it: a line for each file that it wrote


def note_own(home: Path, found: os.stat_result) -> None:
    """That file, whole and with all its bytes; beside those that runs before wrote. Raises OSError."""
    stamp = content_stamp(found)
    if stamp not in _noted(home):
        with (home / NOTE).open("a") as stream:
            stream.write(f"{stamp}\n")


def is_own(home: Path | None, path: Path) -> bool:
    """Whether what has the name now is a file that the work wrote, with the bytes that it wrote."""
    try:
        return home is not None and content_stamp(path.lstat()) in _noted(home)
    except OSError:
        return False


def _noted(home: Path) -> list[str]:
    try:
        return (home / NOTE).read_text().splitlines()
    except FileNotFoundError:
        return []
