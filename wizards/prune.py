"""Old restore points taken out: what stays, rule by rule."""

from __future__ import annotations

from tui.wizard import Form, Wizard
from wizards.browse import BACKUP, KEEPS, OPENS

PRUNE = Wizard(
    "backup-prune",
    OPENS,
    Form("Keep", "keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", why="0 keeps none for that."),
    Form("Only", "only", "keep_tag", "keep_hourly", "drop", why="May all stay as they are."),
    title="take out old restore points",
    under=BACKUP,
    name="Thin out",
    keeps=(*KEEPS, "keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"),
)
