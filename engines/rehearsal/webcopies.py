"""The rehearsal of failover: a site of two copies in namespaces of its own, and clients that are at hand everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:  # noqa: ARG001  every rehearsal is given one
    """The lab makes its copies itself, so `folder` stays empty; a SYN ladder of 3 s keeps it short."""
    from engines.job.jobfile import Job
    from engines.rehearsal.stage import Staged

    params = {
        "clients": ["python", "curl"],
        "faults": ["drop", "rst"],
        "ladder": "short",
        "runs": 1,
        "cap": 20,
    }
    yield Staged(Job(task="failover", params=params))
