"""Rehearsals: each task run headless, from plan to report, on a target made for it."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import msgspec

from engines import api
from engines.cli.narrate import Narrator, say
from engines.job.errors import Refused, meant
from engines.rehearsal.stage import STAGES, Staged, stage


class Rehearsed(msgspec.Struct):
    """How one rehearsal went; `report` is a path, empty where the run never began."""

    task: str
    outcome: str
    seconds: float
    summary: str
    report: str = ""
    code: int = 1


def one(task: str, *, as_json: bool) -> Rehearsed:
    """Rehearse one task."""
    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix=f"crashcart-rehearsal-{task}-") as folder,
            stage(task, Path(folder)) as target,
        ):
            return _run(task, target, began, as_json)
    except Refused as refused:
        return Rehearsed(task, "refused", time.monotonic() - began, str(refused), code=3)


def _run(task: str, target: Staged, began: float, as_json: bool) -> Rehearsed:
    narrator = None if as_json else Narrator(as_json=False, ask=False)
    ended = api.run(
        target.job.task,
        confirm=lambda plan: plan.confirm,
        secrets=target.secrets,
        listen=narrator,
        given=target.job.params,
    )
    return Rehearsed(task, ended.status, time.monotonic() - began, ended.summary, ended.report, ended.code)


def main(names: list[str], *, as_json: bool) -> int:
    """Rehearse the named tasks, or all, and print the table; the exit code is that of the worst."""
    for name in names:
        if name not in STAGES:
            raise Refused(f"{name!r} has no rehearsal", meant(name, STAGES) or "allowed are " + ", ".join(STAGES))
    found = []
    for name in names or STAGES:
        say(f"rehearsing {name}")
        found.append(one(name, as_json=as_json))
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        sys.stdout.write(table(found))
    codes = [rehearsed.code for rehearsed in found]
    return next((code for code in (1, 3, 130) if code in codes), 0)


def table(found: list[Rehearsed]) -> str:
    """One row a task, and under it the path of its report."""
    lines = [f"{'task':14} {'outcome':10} {'took':>8}  what happened"]
    for row in found:
        lines.append(f"{row.task:14} {row.outcome:10} {row.seconds:6.1f} s  {row.summary}")
        if row.report:
            lines.append(f"{'':14} report: {row.report}")
    return "\n".join(lines) + "\n"
