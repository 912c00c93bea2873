"""The section of the backup tasks, and the browser that is its first row."""

from __future__ import annotations

from tui.browse.paper import Papers
from tui.browse.repositories import Repositories
from tui.wizard import Door, Form, Section, Wizard

WHY = "Opens like a folder. Files go to this machine, or back into a stopped guest. Looking changes nothing."
BROWSE = Door("Browse", "open a restore point, take files out of it", WHY, Repositories)
SHEET = "Shows what must be kept to open a repository again. It opens nothing without a key. Looking changes nothing."
PAPER = Door("Key on paper", "a sheet to print: what brings a repository's key back", SHEET, Papers)
BACKUP = Section(
    "backup", "back up a disk, restore it, take files out", "Files, whole disks, repositories.", (BROWSE,), (PAPER,)
)
KEEPS = ("repo", "key_file")
RULES = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
OPENS = Form("Repository", "repo", "key_file", "passphrase", why="Where the backups lie, and what opens them.")


def task(name: str, row: str, title: str, *forms: Form, keeps: tuple[str, ...] = ()) -> Wizard:
    """A wizard of the section that opens a repository first; `row` is its name in the list."""
    return Wizard(name, OPENS, *forms, title=title, under=BACKUP, name=row, keeps=(*KEEPS, *keeps))
