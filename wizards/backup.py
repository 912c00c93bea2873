"""Disks into a repository and back: which fields stand together, and why they are asked."""

from __future__ import annotations

from tui.wizard import Form, Section, Wizard

BACKUP = Section(
    "backup", "back up a disk, restore it", "One repository holds the restore points of any number of VMs."
)
OPENS = Form("Repository", "repo", "key_file", "passphrase", why="Where the backups lie, and what opens them.")

RUN = Wizard(
    "backup",
    Form("Disk", "source", "vm", "disk", "format", why="What is backed up. It is only read; its VM may run on."),
    OPENS,
    Form("Manner", "limit", "strict", "agent", "snapshot_size", "tag", why="The defaults fit most disks."),
    title="read one disk into a new restore point",
    under=BACKUP,
    name="Back up now",
)

RESTORE = Wizard(
    "backup-restore",
    OPENS,
    Form("Disk", "point", "target", "delta", "verify", "powered_off", why="What is on the target is lost."),
    title="write a restore point back to a file, volume or disk",
    under=BACKUP,
    name="Restore a disk",
)
