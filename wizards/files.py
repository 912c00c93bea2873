"""Files of a restore point, out or back into a guest; the browser gives what was marked."""

from __future__ import annotations

from tui.wizard import Form, Wizard
from wizards.browse import BACKUP

GET = Wizard(
    "backup-get",
    Form("Where", "dest", "tar", "conflict", why="Nothing that is there is overwritten unless you say so here."),
    Form("Manner", "parents", "owner", "special", "driver", why="The defaults fit most files."),
    title="take files out of a restore point",
    under=BACKUP,
)

PUT = Wizard(
    "backup-put",
    Form(
        "Guest",
        "into",
        "backing",
        "conflict",
        "powered_off",
        why="The guest must be off; an image in use is refused by name.",
    ),
    Form("Where", "at", "volume", "setuid", "special", why="Empty: each file goes back to its own place."),
    title="put files back into a stopped guest",
    under=BACKUP,
)
