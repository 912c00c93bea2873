"""A restore point as a machine: whether it starts, seen before anything is restored."""

from __future__ import annotations

from tui.wizard import Form, Wizard
from wizards.browse import BACKUP, KEEPS, OPENS

BOOT = Wizard(
    "backup-boot",
    OPENS,
    Form("Machine", "point", "bus", "firmware", why="It runs on a throwaway layer, without a network."),
    Form("Witness", "expect", "memory", "deadline", why="How it is judged whether it came up."),
    title="see whether a restore point starts as a machine",
    under=BACKUP,
    name="Boot a point",
    keeps=(*KEEPS, "memory", "deadline"),
)
