"""Run this checkout as user nobody, also where its own folder is closed to others."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = 'mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"'


def seen_in(place: Path) -> tuple[list[str], str]:
    """The words before a command that give it a view of the checkout below `place`, in a mount namespace of its own
    and as its working folder; and the Python to name there."""
    view = place / "checkout"
    view.mkdir()
    python = Path(sys.executable)
    there = view / python.relative_to(ROOT) if python.is_relative_to(ROOT) else python
    return ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(ROOT), str(view)], str(there)
