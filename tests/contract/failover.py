"""A lab of half a second, and a name that is watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import tasks
from engines.job.jobfile import Job
from tests.contract.target import Case, Target, contents, named, running
from tests.engines.failover.stage import open_stage
from tests.ports import free_port


def lab(folder: Path) -> dict[str, Any]:
    """One curl against one reset: a lab of half a second."""
    given = {"clients": ["curl"], "faults": ["rst"], "ladder": "short", "runs": 1, "cap": 10}
    return {**given, "output": str(folder / "table.yaml")}


@contextmanager
def watched(folder: Path) -> Iterator[Target]:
    """A name of two addresses, of which nobody answers."""
    with open_stage() as stage:
        at = stage.names("shop.test", ["127.0.0.2", "127.0.0.3"])[1]
        given = {"name": "shop.test", "resolver": [at], "scheme": "http", "port": free_port(), "interval": 1}
        yield Target(tasks.engine("failover-watch"), Job(task="failover-watch", params=given), lambda: contents(folder))


CASES = (
    Case(
        "failover", named("failover"), lab, ({"clients": ["mosaic"]}, {"faults": ["fire"]}, {"output": "/etc/hostname"})
    ),
    Case("failover watch", named("failover-watch"), watched, ({"name": "a b"},), until=running, moments=3),
)
