"""A process that is killed at a moment counted in calls, so that moments spread over all of its work.

A clock would not do: a warm run is over so soon that it strikes before or behind it. The process strikes itself, in the
middle of the call or a little later, told by Python's own audit events.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from engines import tasks
from engines.job.contract import AnyEvent, Cancel, Context, Finished, StepStarted
from engines.job.params import convert
from engines.job.work import typed


def driven(task: str, folder: Path, heard: Callable[[AnyEvent], None] | None = None, **params: object) -> Finished:
    """Run an engine to its end without the lock that keeps two runs of one target apart."""
    engine = tasks.engine(task)
    plan = engine.plan(convert(engine.params, params), Cancel())
    for last in engine.execute(typed(engine, plan), Context(cancel=Cancel(), folder=folder)):
        if heard:
            heard(last)
    assert isinstance(last, Finished)
    return last


def child(work: Callable[[], object]) -> int:
    """A process that does `work` and ends, quietly."""
    pid = os.fork()
    if pid:
        return pid
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001  a child must not come back into pytest
        os._exit(1)


class Strike(msgspec.Struct):
    """How far a process came: `calls` on files of the repository, `step` of the plan."""

    calls: int = 0
    step: str = ""
    killed: bool = False


class Striker:
    """Counts what this process does to files below a folder, by Python's own audit events, and kills it at one."""

    def __init__(self, folder: str, at: int, later: float, tell: int) -> None:
        self._folder = folder
        self._at = at
        self._later = later
        self._tell = tell
        self.seen = Strike()
        sys.addaudithook(self._hook)

    def heard(self, event: AnyEvent) -> None:
        """An event of the run."""
        if isinstance(event, StepStarted):
            self.seen.step = event.step

    def _hook(self, name: str, arguments: tuple[object, ...]) -> None:
        if name != "open" and not name.startswith("os."):
            return
        if not any(
            str(argument).startswith(self._folder) for argument in arguments if isinstance(argument, str | Path)
        ):
            return
        self.seen.calls += 1
        if self.seen.calls == self._at and self._later:
            threading.Timer(self._later, self._strike).start()
        elif self.seen.calls == self._at:
            self._strike()

    def _strike(self) -> None:
        self.tell(killed=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def tell(self, *, killed: bool) -> None:
        """Say how far it came."""
        self.seen.killed = killed
        os.write(self._tell, json.dumps(msgspec.to_builtins(self.seen)).encode() + b"\n")


def struck(repo: str, at: int, later: float, work: Callable[[Striker], object]) -> Strike:
    """The work, killed at its `at`th call or `later` seconds after it; how far it came."""
    inside, outside = os.pipe()

    def counted() -> None:
        striker = Striker(repo, at, later, outside)
        work(striker)
        striker.tell(killed=False)

    pid = child(counted)
    os.close(outside)
    with os.fdopen(inside, "rb") as told:
        said = told.read().splitlines()
    status = os.waitpid(pid, 0)[1]
    assert said, f"it ended by itself with {status}"
    found = msgspec.json.decode(said[0], type=Strike)
    found.killed = os.WIFSIGNALED(status)
    return found
