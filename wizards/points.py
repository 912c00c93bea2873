"""What becomes of points and names: a point kept, a VM called otherwise."""

from __future__ import annotations

from tui.wizard import Form
from wizards.browse import task

PROTECT = task(
    "backup-protect",
    "Keep a point",
    "have a point stay, whatever the rules of Thin out say",
    Form("Point", "point", "why", "off", why="Prune leaves it, whatever the rules say."),
)
RENAME = task(
    "backup-rename",
    "Rename a VM",
    "give all points of a VM another name",
    Form("Names", "vm", "to", why="All its points go along; backups go on under the new name."),
)
POINTS = (PROTECT, RENAME)
