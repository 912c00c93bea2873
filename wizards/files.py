"""Files out of a restore point; the browser opens this with what was marked, so the files themselves are not asked."""

from __future__ import annotations

from tui.wizard import Form, Wizard
from wizards.backup import BACKUP

GET = Wizard(
    "backup-get",
    Form("Where", "dest", "tar", "conflict", why="Nothing that is there is overwritten unless you say so here."),
    Form("Manner", "parents", "owner", "special", "driver", why="The defaults fit most files."),
    title="take files out of a restore point",
    under=BACKUP,
)
