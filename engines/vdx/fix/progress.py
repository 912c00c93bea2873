"""How far a run has come, on disk before each step that cannot be repeated blindly."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.host.files import write_whole
from engines.job import runs

PHASES = ("begun", "backed-up", "asked", "back", "restored", "saved", "verified")
"""asked: yes was typed, or was about to be; the switch may reboot at any moment."""


class FixProgress(msgspec.Struct, kw_only=True):
    """A run's own record. `user` is who could log in last; `left_out` the config lines left out, redacted."""

    phase: str = "begun"
    question: str = ""
    uptime: int | None = None
    user: str = ""
    edged: list[str] = []
    left_out: list[str] = []
    stages: list[tuple[str, float]] = []

    def reached(self, phase: str) -> bool:
        """Whether the run came as far as `phase`."""
        return PHASES.index(self.phase) >= PHASES.index(phase)


def keep(folder: Path, progress: FixProgress) -> None:
    """Write it, whole or not at all. Raises OSError."""
    write_whole(folder / "progress.json", msgspec.json.encode(progress))


def load(folder: Path) -> FixProgress | None:
    """The record in a run's folder; None where there is none."""
    try:
        return msgspec.json.decode((folder / "progress.json").read_bytes(), type=FixProgress)
    except (OSError, msgspec.DecodeError):
        return None


def furthest(earlier: Path) -> Path:
    """The folder, of a run and of those that took it up, whose record is the furthest."""
    later = [run.folder for run in runs.every() if run.info().earlier == earlier.name and run.info().mode == "resume"]

    def rank(folder: Path) -> int:
        found = load(folder)
        return PHASES.index(found.phase) if found else -1

    return max((earlier, *reversed(later)), key=rank)


def backup_file(which: str) -> str:
    """The name, in a run's folder, of a switch's configuration from before."""
    return f"running-config.{which}"
