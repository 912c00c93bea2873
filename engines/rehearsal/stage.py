"""A task's rehearsal target stands ready while it is used."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from engines.job.errors import Refused, meant
from engines.job.jobfile import Job
from engines.job.params import Secret

STAGES = {
    "biosiso": "engines.rehearsal.firmware",
    "biosiso-insert": "engines.rehearsal.board",
    "virtio": "engines.rehearsal.guest.stage",
    "vdx": "engines.rehearsal.switches",
    "failover": "engines.rehearsal.webcopies",
    "backup": "engines.rehearsal.disk",
    "fleet": "engines.rehearsal.hypervisors",
}


@dataclass(frozen=True)
class Staged:
    """A target that stands ready: the job that works on it, and the secrets it takes."""

    job: Job
    secrets: dict[str, Secret] = field(default_factory=dict)


def stage(task: str, folder: Path) -> AbstractContextManager[Staged]:
    """The task's rehearsal target, alive within the `with`. Raises Refused."""
    if task not in STAGES:
        raise Refused(f"{task!r} has no rehearsal", meant(task, STAGES) or "allowed are " + ", ".join(STAGES))
    staged: AbstractContextManager[Staged] = importlib.import_module(STAGES[task]).stage(folder)
    return staged
