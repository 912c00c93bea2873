"""Two switches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import tasks
from engines.job.jobfile import Job
from engines.job.params import Secret
from engines.rehearsal.switches import Rehearsal
from tests.contract.target import Case, Target, named
from tests.engines.vdx.conftest import QUICK, knobs


@contextmanager
def switches(folder: Path) -> Iterator[Target]:
    """Two switches of which one gets a vcs id of its own; what counts is how both are configured and what they run."""
    with Rehearsal(knobs(), knobs()) as pair:
        job = Job(task="vdx", params={**pair.params(), **QUICK})
        secrets = {"password": Secret(pair.password)}

        def state() -> Any:
            return [(each.vcsid, each.shown(), each.startup == each.running) for each in (pair.a, pair.b)]

        yield Target(tasks.engine("vdx"), job, state, secrets)


CASES = (Case("vdx", named("vdx"), switches, ({"interface": "x"}, {"switch": "127.0.0.1:1"}), moments=2, apart=True),)
