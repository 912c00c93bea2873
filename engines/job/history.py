"""The runs of this user as a table or as JSON, newest first."""

from __future__ import annotations

import time

import msgspec

from engines.job import runs
from engines.job.units import one_line


class Row(msgspec.Struct):
    """One run; `followed` names the run that resumed or undid it. `created` is Unix time in seconds."""

    id: str
    task: str
    target: str
    status: str
    mode: str
    created: float
    followed: str = ""


def rows() -> list[Row]:
    """Every run, newest first."""
    later = runs.followed_up()
    found = []
    for run in runs.every():
        info = run.info()
        found.append(Row(run.id, info.task, info.target, run.status(), info.mode, info.created, later.get(run.id, "")))
    return found


def as_json() -> str:
    """The rows as one JSON array."""
    return msgspec.json.encode(rows()).decode() + "\n"


def table() -> str:
    """The rows as aligned text, with what to do about those that were killed."""
    lines = [f"{'run':44} {'status':12} target"]
    for row in rows():
        lines.append(f"{row.id:44} {row.status:12} {one_line(row.target)}")
        if row.followed:
            lines.append(f"    taken up by {row.followed}")
        elif row.status == "interrupted":
            lines.append(f"    killed: crashcart resume {row.id}, or crashcart undo {row.id}")
    return "\n".join(lines) + "\n" if len(lines) > 1 else "no run yet\n"


def ago(created: float) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0, int(time.time() - created))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
