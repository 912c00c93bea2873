"""Rehearsal targets at hand: made when they are asked for, kept alive while the suite is open."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from engines.job import runs
from engines.rehearsal import stage
from engines.rehearsal.stage import Staged
from tui.widgets.menu import Row


class Stages:
    """The targets made so far; their files lie beside the runs, since a run outlives the suite."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._made: dict[str, Staged] = {}

    def rows(self, tasks: Iterable[str]) -> list[Row]:
        """A choice for every task that has both a wizard and a target."""
        return [Row(name, name) for name in stage.STAGES if name in tasks]

    def make(self, task: str) -> Staged:
        """The task's target, standing ready; may take seconds. Raises Refused."""
        if task not in self._made:
            folder = runs.home().parent / "rehearsal" / task
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made[task] = self._open.enter_context(stage.stage(task, folder))
        return self._made[task]

    def close(self) -> None:
        """Let the targets go."""
        self._open.close()
