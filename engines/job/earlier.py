"""What earlier runs on this machine were given: values to offer again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from engines.job import runs
from engines.job.errors import CrashcartError
from engines.job.jobfile import Job
from engines.job.runs import Run

LOOKED = 200  # runs that are read for one answer, the newest


def values(task: str, *names: str) -> list[str]:
    """What those parameters were in earlier runs of the task and its kin (`backup` and `backup-get`), newest first.

    An item of a list counts by itself. An unreadable folder of runs has none.
    """
    kin, found = task.partition("-")[0], dict[str, None]()
    for job in _jobs(kin):
        for name in names:
            given = job.params.get(name)
            for item in given if isinstance(given, list | tuple) else [given]:
                if item not in (None, "") and not isinstance(item, bool):
                    found[str(item)] = None
    return list(found)


def last(task: str) -> dict[str, Any]:
    """The parameters of the newest run of exactly this task, empty where there is none."""
    return next((dict(job.params) for job in _jobs(task) if job.task == task), {})


def last_with(task: str, name: str) -> dict[str, Any]:
    """The parameters of the newest run of the task or its kin that was given `name`, empty where there is none."""
    return next((dict(job.params) for job in _jobs(task.partition("-")[0]) if job.params.get(name)), {})


def _jobs(kin: str) -> Iterator[Job]:
    """The jobs of runs whose task begins so, newest first, as their folders are named: no other is opened."""
    try:
        names = sorted((entry.name for entry in runs.home().iterdir()), reverse=True)
    except (CrashcartError, OSError):
        return
    fits = re.compile(rf"\d{{8}}T\d{{6}}Z-{re.escape(kin)}(?![A-Za-z0-9])")
    for run in _by_birth(runs.home() / name for name in [name for name in names if fits.match(name)][:LOOKED]):
        try:
            job = run.job()
        except (CrashcartError, OSError, ValueError):
            continue
        if job.task.partition("-")[0] == kin.partition("-")[0]:
            yield job


def _by_birth(folders: Iterable[Path]) -> list[Run]:
    """Newest first; names alone do not tell it of runs of one second."""
    born: dict[int, Run] = {}
    for run in map(Run, folders):
        with suppress(CrashcartError):
            born[run.info().born] = run
    return [born[at] for at in sorted(born, reverse=True)]
