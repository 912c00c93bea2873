"""What the contract suite holds to its promises: an engine, and a target made for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from engines import tasks
from engines.job.contract import AnyEvent, Engine, Log, Measured, Plan
from engines.job.jobfile import Job
from engines.job.params import Secret
from engines.job.work import Work

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """One staged target: the job that works on it, and what its promises are about."""

    engine: Engine[Any]
    job: Job
    state: Callable[[], Any]
    secrets: dict[str, Secret] = field(default_factory=dict)

    @property
    def work(self) -> Work[Any]:
        return Work.of(self.engine, self.job.params, self.secrets)

    def plan(self) -> Plan:
        return self.work.plan()


@dataclass(frozen=True)
class Case:
    """One engine. `stage` fills an empty folder and gives the parameters, or a target that lives within a `with`.

    wrong: changes of the parameters into refusals. adds: it only adds to what is there, so that a stop, a kill or an
    undo may leave more than there was, and changes nothing of that. until: the event at which a run that goes on until
    it is stopped is asked to. moments: how many events it is stopped or killed at, spread evenly; 0 for all of them.
    passes: what it does is over when it ends, and its target as before. apart: killed in a process of its own, since a
    fork would take this process's servers along.
    """

    name: str
    engine: Callable[[], Engine[Any]]
    stage: Callable[[Path], Any]
    wrong: tuple[dict[str, Any], ...]
    adds: bool = False
    until: Callable[[AnyEvent], bool] | None = None
    moments: int = 0
    passes: bool = False
    apart: bool = False

    @contextmanager
    def staged(self, folder: Path) -> Iterator[Target]:
        """The target, while it stands."""
        folder.mkdir(parents=True, exist_ok=True)
        made = self.stage(folder)
        if isinstance(made, dict):
            yield Target(self.engine(), Job(task=self.engine().name, params=made), lambda: contents(folder))
            return
        with made as target:
            yield target

    def few(self, moments: list[T]) -> list[T]:
        """As many of them as are tried."""
        if not self.moments or len(moments) <= self.moments:
            return moments
        return [moments[at * (len(moments) - 1) // max(self.moments - 1, 1)] for at in range(self.moments)]

    def kept(self, before: Any, after: Any) -> bool:
        """Whether the target is as it was, as far as this engine promises that."""
        return before == after or (self.adds and all(after.get(name) == seen for name, seen in before.items()))


def running(event: AnyEvent) -> bool:
    """It is there: from here on it goes on until it is stopped."""
    return isinstance(event, Measured | Log)


def named(name: str) -> Callable[[], Engine[Any]]:
    return lambda: tasks.engine(name)


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file below `folder`: mode, mtime in ns, SHA-256."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path.is_symlink())
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_mtime_ns if path.is_file() else 0, content)
    return found


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its SHA-256."""
    return {name: seen[2] for name, seen in snapshot(folder).items()}
