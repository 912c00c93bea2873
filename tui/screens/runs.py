"""Runs as rows of a menu: what each is, and what to do about it."""

from __future__ import annotations

import time

from engines.job import history
from engines.job.units import one_line
from tui.widgets import menu

ALIVE = ("starting", "running", "asking")
SHORT = {
    "asking": "? ASKING",
    "interrupted": "! KILLED",
    "warned": "done !",
    "failed": "! FAILED",
}
WHAT = {
    "starting": "It is starting. Enter shows it.",
    "running": "It is at work in a process of its own. Enter shows it.",
    "asking": "It waits for an answer. Enter shows the question.",
    "interrupted": "It was killed before its last word. Enter offers to resume it or take it back.",
}
HEADING = menu.Row(f"  {'status':<9} {'begun, UTC':<12} {'task':<16} target")
WIDEST = 36  # cells of a target; its end says more than its beginning


def line(run: history.Row) -> menu.Row:
    """`running   01-02 03:04  biosiso        x9scl.iso`, times UTC."""
    at = time.strftime("%m-%d %H:%M", time.gmtime(run.created))
    task = run.task if run.mode == "do" else f"{run.task} {run.mode}"
    target = one_line(run.target)
    shown = target if len(target) <= WIDEST else "~" + target[1 - WIDEST :]
    why = f"Followed up by {run.followed}." if run.followed else WHAT.get(run.status, "")
    return menu.Row(f"{SHORT.get(run.status, run.status):<9} {at}  {task:<16} {shown}", run.id, why)


def urgent(found: list[history.Row]) -> list[history.Row]:
    """Those that are at work, that ask, or that were killed and not followed up."""
    return [run for run in found if run.status in ALIVE or (run.status == "interrupted" and not run.followed)]
