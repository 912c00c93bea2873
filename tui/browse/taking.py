"""What is marked on its way out: into a folder, a tar archive, or back into a stopped guest's image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textual.message import Message

from engines.backup.files.model import shown
from tui.browse.access import Access
from tui.browse.marks import Marks
from tui.widgets.asking import Choosing
from tui.widgets.menu import Row


@dataclass
class OpenTask(Message):
    """Open a task's wizard with these parameters; the next pages show what will happen."""

    task: str
    params: Mapping[str, object]
    secrets: Mapping[str, str] = field(default_factory=dict)


def choose(marks: Marks) -> Choosing:
    """The question where the marked files go."""
    rows = [
        Row("To a folder on this machine", "folder"),
        Row("To a tar archive", "tar"),
        Row("Back into the image of a stopped guest", "guest"),
    ]
    return Choosing("Restore", f"{marks.words()}\n\nYou see every change before anything is written.", rows)


def begin(where: str, point: str, access: Access, paths: Sequence[bytes]) -> OpenTask:
    """The wizard for what was chosen."""
    params: dict[str, object] = {**access.params(), "paths": [f"{point}:{spelled(path)}" for path in paths]}
    if where == "guest":
        return OpenTask("backup-put", params, access.secrets())
    folders = {path.rpartition(b"/")[0] for path in paths}
    dest = Path.home() / re.sub(r"[/@]", "-", point)
    params |= {"dest": f"{dest}.tar" if where == "tar" else str(dest), "tar": where == "tar"}
    return OpenTask("backup-get", {**params, "parents": len(folders) > 1}, access.secrets())


def spelled(path: bytes) -> str:
    """The path as a form's list keeps it: a blank at its end would be stripped there."""
    text = shown(path)
    return text[:-1] + "\\x20" if text.endswith(" ") else text
