"""Names the runs that may have no last word yet, however many are done."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def mark(runs: Path, name: str) -> None:
    """That run begins. Raises OSError."""
    folder = _folder(runs)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / name).touch(mode=0o600)


def clear(runs: Path, name: str) -> None:
    """That run has its last word, or another has taken it up; a mark that stays does no harm."""
    with suppress(OSError):
        (_folder(runs) / name).unlink(missing_ok=True)


def marked(runs: Path) -> list[str] | None:
    """Those that began and were not cleared, newest first; None where nobody has kept marks yet."""
    try:
        return sorted((entry.name for entry in _folder(runs).iterdir()), reverse=True)
    except FileNotFoundError:
        return None
    except OSError:
        return []


def _folder(runs: Path) -> Path:
    return runs.parent / "unfinished"
