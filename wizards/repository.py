"""The repository itself: made, and proven."""

from __future__ import annotations

from tui.wizard import Form, Wizard
from wizards.browse import BACKUP, KEEPS, OPENS

VERIFY = Wizard(
    "backup-verify",
    OPENS,
    Form("How much", "percent", "rebuild", "point", "against", "format", why="All of it, unless time is short."),
    title="prove that every restore point can still be read",
    under=BACKUP,
    name="Verify",
    keeps=(*KEEPS, "percent"),
)

INIT = Wizard(
    "backup-init",
    Form(
        "Repository",
        *("repo", "cipher", "key_file", "passphrase"),
        why="A new folder; the key is nowhere else.",
        twice=("passphrase",),
    ),
    Form("Lock", "lock", "lock_mode", why="For s3:// with Object Lock: nobody deletes what points need. Else empty."),
    title="make a place for restore points",
    under=BACKUP,
    name="New repository",
)
