"""The section of the backup tasks, and the browser that is its first row."""

from __future__ import annotations

from tui.browse.repositories import Repositories
from tui.wizard import Door, Form, Section

WHY = "Opens like a folder. Files go to this machine, or back into a stopped guest. Looking changes nothing."
BROWSE = Door("Browse", "open a restore point, take files out of it", WHY, Repositories)
BACKUP = Section("backup", "back up a disk, restore it, take files out", "Files, whole disks, repositories.", (BROWSE,))
KEEPS = ("repo", "key_file")
OPENS = Form("Repository", "repo", "key_file", "passphrase", why="Where the backups lie, and what opens them.")
