"""How a run ended, what to do next, and where its report lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker

from engines.job.report import SAID, Report, Timed, gather
from engines.job.runs import Run
from engines.job.units import one_line, span
from tui.draft import Draft
from tui.pages.page import Page
from tui.widgets.copying import copied

MARKS = {"done": "[x]", "warned": "[x]"}
RESUMABLE = ("interrupted", "stopped", "failed")
UNDOABLE = ("done", "warned", "interrupted", "stopped", "failed")


class Words(VerticalScroll, can_focus=True):
    """The result, scrolled by keyboard."""


class ResultPage(Page):
    """Outcome in words; undo and resume where they make sense."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "leave", "Home"),
        Binding("v", "report", "View report"),
        Binding("r", "resume", "Resume"),
        Binding("u", "undo", "Undo"),
        Binding("a", "again", "Again"),
        Binding("y", "copy", "Copy path"),
    ]

    def __init__(self, draft: Draft | None = None, run: Run | None = None) -> None:
        super().__init__("Result")
        self.draft = draft
        self.attached = run
        self.found: Report | None = None

    @property
    def run(self) -> Run:
        """The run on show."""
        run = self.attached or (self.draft.run if self.draft else None)
        assert run is not None
        return run

    def compose(self) -> ComposeResult:
        yield Words()

    def arrive(self) -> None:
        """Read the run's report."""
        self.post_message(self.Why(report_line(self.run, self.app.size.width)))
        self.query_one(Words).focus()
        self._gather(self.run)

    def on_resize(self) -> None:
        """The report's path is parted where the new width wants it."""
        if self.found:
            self.post_message(self.Why(report_line(self.run, self.app.size.width)))

    def back(self) -> None:
        self.post_message(self.Leave())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.found is None:
            return action not in ("resume", "undo", "again", "report")
        plan = self.found.plan
        changed = plan is not None and self.found.info.mode != "undo"
        wanted = {
            "resume": changed and self.found.status in RESUMABLE,
            "undo": changed and plan is not None and plan.undoable and self.found.status in UNDOABLE,
            "again": self.found.info.mode == "do",
        }
        return wanted.get(action, True)

    @work(thread=True, exclusive=True, group="gather", exit_on_error=False)
    def _gather(self, run: Run) -> Report:
        return gather(run)

    @on(Worker.StateChanged)
    def _gathered(self, event: Worker.StateChanged) -> None:
        event.stop()
        if event.worker.is_finished and isinstance(event.worker.result, Report):
            self.found = event.worker.result
            words = self.query_one(Words)
            words.remove_children()
            words.mount(*told(self.found))
            self.refresh_bindings()

    def action_leave(self) -> None:
        """Back to the home screen."""
        self.post_message(self.Leave())

    def action_report(self) -> None:
        """Show the report."""
        self.post_message(self.ReadReport(self.run))

    def action_resume(self) -> None:
        """Take the run up."""
        self.post_message(self.FollowUp(self.run, "resume"))

    def action_undo(self) -> None:
        """Take the run back."""
        self.post_message(self.FollowUp(self.run, "undo"))

    def action_copy(self) -> None:
        """The report's path, to the terminal's clipboard."""
        told, path = copied(self.app, str(self.run.report)), report_line(self.run, self.app.size.width)
        self.post_message(self.Why(told if "\n" in path else f"{told}\n{path}"))

    def action_again(self) -> None:
        """Open the wizard with the same parameters."""
        self.post_message(self.Again(self.run.job()))


def told(report: Report) -> Iterator[Static]:
    """The report's words that matter now."""
    mark = MARKS.get(report.status, "[!]")
    outcome = SAID.get(report.status, report.status)
    yield Static(Content(f"{mark} {outcome[:1].upper()}{outcome[1:]}"), classes=f"title -{report.status}")
    if report.summary:
        yield Static(Content(one_line(report.summary)), classes="part")
    if report.what_helps:
        yield Static(Content(f"What helps: {one_line(report.what_helps)}"), classes="part")
    yield from _listed("Left behind", [f"! {one_line(text)}" for text in report.left_behind])
    yield from _listed("Warnings", [f"! {one_line(text)}" for text in report.warnings])
    for section in report.sections:
        yield from _listed(section.title, [one_line(line) for line in section.brief.splitlines()])
    yield from _listed("What to do next", [f"{at}. {one_line(text)}" for at, text in enumerate(report.then, 1)])
    yield from _listed("Steps", [_step(step) for step in report.steps])


def report_line(run: Run, width: int) -> str:
    """Where the report lies: with its name where both fit on one line, else the path alone, parted at a folder."""
    path = str(run.report)
    room = width - 2
    if len(named := f"Report: {path}") <= room:
        return named
    cut = path.rfind("/", 0, room) + 1  # a name that a line's end breaks is looked for in vain
    return f"{path[:cut]}\n{path[cut:]}" if len(path) > room >= len(path) - cut else path


def _step(step: Timed) -> str:
    if step.seconds is None:
        return f"[!] {one_line(step.title)}  not ended"
    return f"[x] {one_line(step.title)}  {span(step.seconds)}"


def _listed(title: str, lines: list[str]) -> Iterator[Static]:
    if lines:
        yield Static(Content(title), classes="title")
        yield Static(Content("\n".join(lines)), classes="part")
