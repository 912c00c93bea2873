"""The home screen: what is going on, and what can be begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker

from engines.job import history
from tui.screens.runs import line, urgent
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen

MACHINE = tuple(
    Row(f"{name:<14}   {title}", name.lower(), why)
    for name, title, why in (
        ("History", "every run, with its report, resume and undo", "Nothing is ever lost: each run keeps its journal."),
        ("Rehearse", "try a task on a target made for it", "Files are made for it here. Nothing of yours is touched."),
        (
            "Doctor",
            "what this machine can do, and what mends it",
            "Tries each thing instead of guessing. Changes nothing.",
        ),
    )
)
PACE = 3.0  # s between looks at the runs


class Home(MenuScreen[None]):
    """Runs that need someone stand at the top; below them the tasks."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("h", "pick('history')", "History")]

    @dataclass
    class Picked(Message):
        """A row was chosen: `task:NAME`, `run:ID`, `history`, `rehearse` or `doctor`."""

        id: str

    def __init__(self, tasks: Sequence[Row], terminal: str) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.terminal = terminal
        self.found: list[history.Row] = []

    def compose(self) -> ComposeResult:
        yield from self.composed(f"crashcart | {self.terminal}", Menu(self._rows(), id="home", jumps=True))

    def on_mount(self) -> None:
        self.set_interval(PACE, self._look)

    def on_screen_resume(self) -> None:
        self._look()

    @work(thread=True, exclusive=True, group="runs", exit_on_error=False)
    def _look(self) -> list[history.Row]:
        return history.rows()

    @on(Worker.StateChanged)
    def _looked(self, event: Worker.StateChanged) -> None:
        if event.worker.group != "runs" or not event.worker.is_finished or not isinstance(event.worker.result, list):
            return
        if event.worker.result != self.found:
            first, self.found = not self.found, event.worker.result
            menu = self.query_one(Menu)
            menu.fill(self._rows())
            if first and urgent(self.found):
                menu.action_move(-len(menu.rows))

    def _rows(self) -> list[Row]:
        rows = [Row("")]
        if needing := urgent(self.found):
            rows += [Row("Runs that are going on or were interrupted")]
            rows += [replace(line(run), id=f"run:{run.id}", named=False) for run in needing]
            rows += [Row("")]
        rows += [Row("Tasks"), *self.tasks, Row(""), Row("This machine")]
        return [*rows, *MACHINE]

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        self.post_message(self.Picked(event.id))

    def action_pick(self, id: str) -> None:
        """Open a row by its key."""
        self.post_message(self.Picked(id))
