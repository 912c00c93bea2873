"""A run as its journal tells it, whoever started it."""

from __future__ import annotations

import time
from collections import deque
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker, WorkerState, get_current_worker

from engines.job import answers, detach
from engines.job.contract import Asked, Measured
from engines.job.errors import CrashcartError
from engines.job.journal import Entry
from engines.job.runs import Run
from engines.job.units import one_line
from tui.draft import Draft
from tui.pages.page import Page
from tui.story import RunView
from tui.widgets.asking import Choosing, Question, Typing
from tui.widgets.menu import Row
from tui.widgets.reading import Text

GOES_ON = "The run goes on without this screen. Esc leaves it; crashcart attach shows it."


class Tail(VerticalScroll, can_focus=True):
    """The end of the log, scrolled by keyboard."""


class RunPage(Page):
    """Steps, progress, log and questions; follows the journal and never holds the run.

    A task's own page overrides `measured` (and `compose`, for widgets that show the readings).
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+x", "stop", "Stop the run", priority=True),
        Binding("ctrl+n", "answer", "Answer"),
        Binding("slash,l", "read", "Read the log"),
    ]

    def __init__(self, draft: Draft | None = None, run: Run | None = None) -> None:
        super().__init__("Run", GOES_ON)
        self.draft = draft
        self.attached = run
        self.story = RunView()
        self.waiting: deque[Entry] = deque()
        self.following: Worker[None] | None = None
        self.asking: Asked | None = None
        self.asked: Question | None = None
        self.ended = False

    @property
    def run(self) -> Run:
        """The run on show."""
        run = self.attached or (self.draft.run if self.draft else None)
        assert run is not None
        return run

    def compose(self) -> ComposeResult:
        yield Static(id="name")
        yield Static(id="stages")
        yield Static(id="bar")
        with Tail():
            yield Static(id="log")

    def arrive(self) -> None:
        """Follow the run from its first word on."""
        super().arrive()
        self.query_one(Tail).focus()
        self.query_one("#name", Static).update(Content(self.run.id))
        self.story, self.ended = RunView(), False
        self.waiting.clear()
        self.following = self._follow(self.run)
        self.refresh_bindings()

    def on_mount(self) -> None:
        terminal = getattr(self.app, "terminal", None)
        self.set_interval(1.0 if terminal and terminal.slow else 0.25, self._drain)

    def depart(self) -> None:
        if self.following:
            self.following.cancel()
            self.following = None

    def back(self) -> None:
        self.post_message(self.Leave())

    def measured(self, event: Measured) -> None:
        """A reading, for a task's own page."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        wanted = {"stop": not self.ended, "answer": self.asking is not None}
        return wanted.get(action, True)

    # ── following ───────────────────────────────────────────────────────────────────────────────────

    @work(thread=True, exclusive=True, group="follow", exit_on_error=False)
    def _follow(self, run: Run) -> None:
        worker = get_current_worker()
        for entry in detach.follow(run, lambda: worker.is_cancelled):
            self.waiting.append(entry)

    def _drain(self) -> None:
        """Take in what has come since; the timer's pace is what a slow line can draw."""
        if self.following is None or self.ended:
            return
        over = self.following.is_finished
        while self.waiting:
            entry = self.waiting.popleft()
            self.story.tell(entry)
            if isinstance(entry.event, Measured):
                self.measured(entry.event)
        self._draw()
        self._ask()
        if over and not self.waiting and self.is_on_screen:  # a run may end before its page was ever laid out
            self._end()

    def _draw(self) -> None:
        over = self.story.last is not None
        now = getattr(self.app, "clock", time.time)()
        lines = [one_line(stage.line(now, over=over)) for stage in self.story.stages]
        self._put("#stages", "\n".join(lines) or "Waiting for the run's first word ...")
        self._put("#bar", "" if over else one_line(self.story.bar(self.size.width - 4)))
        tail = self.query_one(Tail)
        at_end = tail.is_vertical_scroll_end or tail.max_scroll_y == 0
        if self._put("#log", "\n".join(self.story.log)) and at_end:
            tail.scroll_end(animate=False)

    def _put(self, where: str, text: str) -> bool:
        """Whether the text is another; lines are laid out anew only where their number changes, which saves bytes."""
        widget = self.query_one(where, Static)
        before = str(widget.content)
        if before != text:
            widget.update(Content(text), layout=where == "#log" or before.count("\n") != text.count("\n"))
        return before != text

    def _end(self) -> None:
        self.ended = True
        self.depart()
        self.refresh_bindings()
        self.post_message(self.Turn(self, 1))

    def action_read(self) -> None:
        """The log so far in the reader."""
        log = "\n".join(self.story.log)
        why = "The log as it was when this was opened. The run goes on."
        self.app.push_screen(Text(self.run.id, lambda: log, why))

    # ── questions ───────────────────────────────────────────────────────────────────────────────────

    def _ask(self) -> None:
        """Show the run's question; take it away where it was answered elsewhere."""
        if self.story.question is self.asking:
            return
        if self.asked and self.app.screen is self.asked:
            self.asked.dismiss("")
        self.asking = self.story.question
        self.refresh_bindings()
        self.action_answer()

    def action_answer(self) -> None:
        """Show the run's question again."""
        if self.asking:
            self._answer(self.asking)

    @work(group="question", exclusive=True)
    async def _answer(self, asked: Asked) -> None:
        words = one_line(asked.question)
        if asked.choices:
            rows = [Row(one_line(choice), choice) for choice in asked.choices]
            self.asked = Choosing("The run asks", words, rows)
        else:
            self.asked = Typing("The run asks", words, secret=asked.secret)
        said = await self.app.push_screen_wait(self.asked)
        if said and self.asking is asked:
            self._send(said)
        elif self.asking is asked:
            self.post_message(self.Why("The run still waits for an answer: ^n asks again."))

    @work(thread=True, group="send", exit_on_error=False)
    def _send(self, said: str) -> str:
        answers.send(self.run.folder, said)
        return ""

    # ── stopping ────────────────────────────────────────────────────────────────────────────────────

    def action_stop(self) -> None:
        """Ask whether it shall stop; then say what the run answers."""
        self._whether()

    @work(exclusive=True, group="whether")
    async def _whether(self) -> None:
        rows = [Row("Let it go on", "-"), Row("Stop it", "stop")]
        words = "What it began is put back, or named where it cannot be. A stopped run can be resumed."
        if await self.app.push_screen_wait(Choosing("Stop this run?", words, rows)) == "stop" and not self.ended:
            self._stop(self.run)

    @work(thread=True, exclusive=True, group="stop", exit_on_error=False)
    def _stop(self, run: Run) -> str:
        return detach.stop(run)

    @on(Worker.StateChanged)
    def _said(self, event: Worker.StateChanged) -> None:
        event.stop()
        if event.worker.group not in ("stop", "send") or not event.worker.is_finished:
            return
        if event.state is WorkerState.SUCCESS:
            said = str(event.worker.result or "")
        else:
            error = event.worker.error
            said = str(error) if isinstance(error, CrashcartError) else f"{type(error).__name__}: {error}"
        if said:
            self.post_message(self.Why(said[:1].upper() + said[1:] + "."))
