"""Points in a second place: copied there, or taken along as one file and taken in again."""

from __future__ import annotations

from tui.wizard import Form
from wizards.browse import RULES, task

THERE = ("to", "to_key_file")

COPY = task(
    "backup-copy",
    "Copy elsewhere",
    "copy points to a second repository",
    Form("To", *THERE, "to_passphrase", "only", "uplink", why="What the other repository has already is not sent."),
    Form("Keep there", *RULES, why="All 0: the other repository keeps everything."),
    keeps=(*THERE, "uplink", *RULES),
)
EXPORT = task(
    "backup-export",
    "Export a point",
    "write one point as one file, to take along",
    Form("File", "point", "file", why="One file, a repository in itself: for a stick."),
)
IMPORT = task(
    "backup-import",
    "Import a file",
    "take in the point of an exported file",
    Form("File", "file", "file_key_file", "file_passphrase", why="What Export a point wrote, here or elsewhere."),
)
COPIES = (COPY, EXPORT, IMPORT)
