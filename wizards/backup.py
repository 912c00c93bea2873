"""Disks into a repository and back: which fields stand together, and why they are asked."""

from __future__ import annotations

from tui.wizard import Form, Wizard
from wizards.browse import BACKUP, KEEPS, OPENS

RUN = Wizard(
    "backup",
    Form("Disk", "source", "vm", "disk", "more", why="What is backed up. It is only read; its VM may run on."),
    OPENS,
    Form("Manner", "limit", "tag", "format", "strict", why="The defaults fit most disks."),
    Form("Snapshot", "agent", "snapshot_size", "hints", "sample", why="For logical volumes and qcow2 images."),
    title="read the disks of a VM into new restore points",
    under=BACKUP,
    name="Back up now",
    keeps=(*KEEPS, "limit", "strict", "snapshot_size"),
)

RESTORE = Wizard(
    "backup-restore",
    OPENS,
    Form("Disk", "point", "target", "delta", "verify", "powered_off", why="What is on the target is lost."),
    title="write a restore point back to a file, volume or disk",
    under=BACKUP,
    name="Restore a disk",
    keeps=KEEPS,
)
