"""Every run that was ever started here, newest first, with what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker
from typing_extensions import override

from engines.job import history, runs
from engines.job.errors import Refused
from tui.pages.page import Page
from tui.pages.result import RESUMABLE, UNDOABLE
from tui.screens.runs import ALIVE, HEADING, line
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen


class History(MenuScreen[None]):
    """Attach, report, resume, undo and again, each by its key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "report", "View report"),
        Binding("r", "follow_up('resume')", "Resume"),
        Binding("u", "follow_up('undo')", "Undo"),
        Binding("a", "again", "Again"),
        Binding("escape,ctrl+o", "dismiss(None)", "Back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, history.Row] = {}
        self.ways_back: dict[str, bool] = {}

    def compose(self) -> ComposeResult:
        yield from self.composed(
            f"crashcart | History | {runs.home()}", Menu([Row("Reading the journals ...")], id="history")
        )

    def on_mount(self) -> None:
        self.set_interval(3.0, self._look)

    def on_screen_resume(self) -> None:
        self._look()

    @work(thread=True, exclusive=True, group="runs", exit_on_error=False)
    def _look(self) -> list[history.Row]:
        return history.rows()

    @on(Worker.StateChanged)
    def _looked(self, event: Worker.StateChanged) -> None:
        if event.worker.group != "runs" or not event.worker.is_finished:
            return
        if event.worker.error:
            self.found = {}
            self.query_one(Menu).fill([Row(f"! {words}") for words in _unreadable(event.worker.error)])
            self.refresh_bindings()
            return
        found = event.worker.result or []
        by_id = {one.id: one for one in found}
        if by_id != self.found or not found:
            self.found = by_id
            self.query_one(Menu).fill(
                [HEADING, *map(line, found)] if found else [Row("No run yet. Esc goes back to the tasks.")]
            )
            self.refresh_bindings()

    @property
    def here(self) -> history.Row | None:
        """The run under the cursor."""
        row = self.query_one(Menu).row if self.is_mounted else None
        return self.found.get(row.id) if row else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in ("report", "follow_up", "again"):
            return True
        here = self.here
        if here is None:
            return False
        open_ended = not here.followed and here.mode != "undo"
        wanted = {
            "follow_up('resume')": open_ended and here.status in RESUMABLE,
            "follow_up('undo')": open_ended and here.status in UNDOABLE and self._undoable(here.id),
            "again": here.mode == "do",
        }
        return wanted.get(f"{action}('{parameters[0]}')" if parameters else action, True)

    def _undoable(self, id: str) -> bool:
        """Whether its plan said that it can be taken back; looked up for the run under the cursor alone."""
        if id not in self.ways_back:
            run = self._run()
            plan = run.plan() if run else None
            self.ways_back[id] = plan is not None and plan.undoable
        return self.ways_back[id]

    @override
    def moved(self, row: Row) -> None:
        self.say(f"{row.id}\n{row.why}")
        self.refresh_bindings()

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        here = self.here
        if here and here.status in ALIVE:
            self.post_message(self.Attach(here.id))
        elif here:
            self.action_report()

    @dataclass
    class Attach(Message):
        """Show a run that is at work."""

        id: str

    def action_report(self) -> None:
        """Show the report."""
        if run := self._run():
            self.post_message(Page.ReadReport(run))

    def action_follow_up(self, mode: str) -> None:
        """Resume or undo."""
        if run := self._run():
            self.post_message(Page.FollowUp(run, mode))

    def action_again(self) -> None:
        """Open the wizard with the same parameters."""
        if run := self._run():
            self.post_message(Page.Again(run.job()))

    def _run(self) -> runs.Run | None:
        try:
            return runs.find(self.here.id) if self.here else None
        except Refused:
            return None


def _unreadable(error: BaseException) -> list[str]:
    return [error.why, error.what_helps] if isinstance(error, Refused) else [f"{type(error).__name__}: {error}"]
