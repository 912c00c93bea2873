"""The runs of this user as a table or as JSON, newest first."""

from __future__ import annotations

import msgspec

from engines.job import journal, runs
from engines.job.contract import LastWord
from engines.job.units import one_line


class Row(msgspec.Struct):
    """One run; `followed` names the run that resumed or undid it.

    created, ended: Unix times in seconds, `ended` None where it has no last word. report: its path, "" where none is.
    """

    id: str
    task: str
    target: str
    status: str
    mode: str
    created: float
    followed: str = ""
    ended: float | None = None
    report: str = ""


def rows() -> list[Row]:
    """Every run, newest first."""
    later = runs.followed_up()
    return [_row(run, later.get(run.id, "")) for run in runs.every()]


def _row(run: runs.Run, followed: str) -> Row:
    info, found = run.info(), journal.entries(run.journal)
    last = found[-1] if found and isinstance(found[-1].event, LastWord) else None
    return Row(
        id=run.id,
        task=info.task,
        target=info.target,
        status=run.status_by(found),
        mode=info.mode,
        created=info.created,
        followed=followed,
        ended=last.at if last else None,
        report=str(run.report) if last and run.report.exists() else "",
    )


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
