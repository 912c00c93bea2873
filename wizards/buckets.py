"""A bucket that nobody empties: locked, and taken back in time."""

from __future__ import annotations

from tui.wizard import Form
from wizards.browse import RULES, task

LOCK = task(
    "backup-lock",
    "Lock a bucket",
    "have nobody delete what points in a bucket need",
    Form("Lock", "days", "mode", "remember", why="For s3:// only. Run it again before the time is over."),
    Form("Which", *RULES, why="All 0: every point. Else those that these rules name."),
)
REWIND = task(
    "backup-rewind",
    "Rewind bucket",
    "have a repository in a bucket as it was at a time",
    Form("Time", "at", "into", why="What was deleted or overwritten since is back, in a new place."),
)
BUCKETS = (LOCK, REWIND)
