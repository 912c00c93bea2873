"""Where files land and on which terms: what everything that fills a destination has in common."""

from __future__ import annotations

from dataclasses import dataclass

from engines.backup.files.taking.carrying import CarryOptions
from engines.backup.files.taking.conflicts import Conflicts
from engines.backup.files.taking.destination import Destination
from engines.backup.files.taking.notes import Notes
from engines.backup.files.taking.staging import Staging


@dataclass(frozen=True)
class Landing:
    """`made`: whether the destination is new too."""

    destination: Destination
    staging: Staging
    conflicts: Conflicts
    wish: CarryOptions
    notes: Notes
    made: bool = False
