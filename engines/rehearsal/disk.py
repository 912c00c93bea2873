"""A disk with three restore points, and a fourth backup to rehearse on it.

It proves that reading, storing and committing work on this machine. It does not prove a snapshot of a running guest,
a slow or far repository, or that the disk boots.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.rehearse import Staged

MIB = 1024 * 1024
SIZE = 64 * MIB
VM, DISK = "rehearsal", "disk0"


def make(folder: Path) -> dict[str, Any]:
    """Fill `folder` with a disk and a repository of three points; gives the parameters of the fourth backup."""
    disk = folder / "disk.img"
    repo = folder / "repository"
    _run("backup-init", {"repo": str(repo)}, folder)
    params = {"source": str(disk), "repo": str(repo), "vm": VM, "disk": DISK, "limit": "none"}
    with disk.open("wb") as stream:
        stream.truncate(SIZE)
    for point in range(3):
        write(disk, point)
        _run("backup", params, folder)
    write(disk, 3)
    return params


def write(disk: Path, point: int) -> None:
    """What changes on the disk before the point with that number: half its data before the first, then a little."""
    rng = random.Random(point)  # noqa: S311  test data, the same every time
    with disk.open("r+b") as stream:
        for _ in range(24 if point == 0 else 2):
            stream.seek(rng.randrange(SIZE // MIB) * MIB)
            stream.write(rng.randbytes(MIB // 2) + b"cold console\n" * (MIB // 26))


def _run(task: str, params: dict[str, Any], folder: Path) -> None:
    """An engine, to its end, without a run of its own in the history."""
    from engines import tasks
    from engines.job.contract import Cancel, Context
    from engines.job.params import convert

    engine = tasks.engine(task)
    plan = engine.plan(convert(engine.params, params), Cancel())
    for _ in engine.execute(plan, Context(cancel=Cancel(), folder=folder)):
        continue


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """The disk, its points, and the job that makes the next one."""
    from engines.job.jobfile import Job
    from engines.rehearse import Staged

    yield Staged(Job(task="backup", params=make(folder)))
