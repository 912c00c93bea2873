"""Runs are removed by rule: the newest and the young stay, and each that is not over or can still be undone."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

import msgspec

from engines.job import once, runs, unfinished
from engines.job.errors import Refused
from engines.job.runs import Run

OVER = ("done", "warned", "failed", "refused", "stopped")
CHANGED = ("done", "warned", "failed", "stopped")


class Tidied(msgspec.Struct, frozen=True, kw_only=True):
    """removed: names of runs that are gone. kept: how many stay, by reason."""

    removed: list[str]
    kept: dict[str, int]


def prune(keep: int, days: float, *, dry_run: bool = False) -> Tidied:
    """Remove all runs but the newest `keep`, those younger than `days`, and those that somebody may still need.

    dry_run: only name them.
    """
    every = runs.every()
    later = runs.followed_up()
    youngest = time.time() - days * 86400.0
    removed: list[str] = []
    kept: dict[str, int] = {}
    needed: set[str] = set()  # runs that one which stays goes on with, or took back
    for number, run in enumerate(every):
        why = "newest" if number < keep else _why(run, later, youngest) or ("followed up" if run.id in needed else "")
        if not why:
            if not dry_run:
                shutil.rmtree(run.folder, ignore_errors=True)
                unfinished.clear(runs.home(), run.id)
            removed.append(run.id)
            continue
        kept[why] = kept.get(why, 0) + 1
        if earlier := run.info().earlier:
            needed.add(earlier)
    if not dry_run:
        once.tidy()
    return Tidied(removed=removed, kept=kept)


def _why(run: Run, later: dict[str, str], youngest: float) -> str:
    """Why a run stays; nothing where it may go."""
    if run.info().created > youngest:
        return "young"
    status = run.status()
    if status not in OVER:
        return "not over"
    if status in CHANGED and run.info().mode != "undo" and _undoable(run) and not _undone(run, later):
        return "can still be undone"
    return ""


def _undoable(run: Run) -> bool:
    with suppress(Refused):
        plan = run.plan()
        return plan is not None and plan.undoable
    return False


def _undone(run: Run, later: dict[str, str]) -> bool:
    """Whether an undo of it, or of what went on with it, came to its end."""
    name = later.get(run.id, "")
    while name:
        with suppress(Refused):
            follower = runs.find(name)
            if follower.info().mode == "undo" and follower.status() in ("done", "warned"):
                return True
        name = later.get(name, "")
    return False
