"""The suite with the lab's task in it: python -m copysuite."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.__main__ import main

if TYPE_CHECKING:
    from tui.wizard import Wizard


def wizards() -> Sequence[Wizard]:
    """Imported late, as the shipped wizards are."""
    from tui.wizard import Form, Wizard

    return (
        Wizard(
            "copy",
            Form("Files", "source", "output", why="What is copied, and where to."),
            Form("Manner", "style", "count", "pause", "ask", why="How it is copied."),
            Form("More", "notes", "token", "hold", why="What else the run is told."),
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], wizards))
