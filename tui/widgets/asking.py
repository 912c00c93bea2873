"""Questions that stand above a page until they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from engines.job.contract import Plan
from engines.job.word import agrees
from tui.widgets.calm import CalmModal
from tui.widgets.keys import Keys
from tui.widgets.line import Line
from tui.widgets.menu import Menu, Row


class Question(CalmModal[str]):
    """A box with words, something to answer with, and the keys; dismissed with "" where it is left unanswered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+o", "leave", "Back"),
        Binding("pagedown", "scroll(1)", "More"),
        Binding("pageup", "scroll(-1)", show=False),
    ]

    def __init__(self, title: str, words: str) -> None:
        super().__init__()
        self.words = words
        self.heading = title

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(self.heading), id="heading")
            with VerticalScroll(id="words", can_focus=False):
                yield Static(Content(self.words), id="said")
            yield from self.answers()
            yield Static("", id="wrong")
            yield Keys()

    def answers(self) -> ComposeResult:
        """The widgets to answer with."""
        raise NotImplementedError

    def wrong(self, words: str) -> None:
        """Say under the answer why it will not do."""
        self.query_one("#wrong", Static).update(Content(words))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "scroll" or (self.is_mounted and self.query_one("#words").max_scroll_y > 0)

    def action_scroll(self, way: int) -> None:
        """More of the words, where they are long."""
        words = self.query_one("#words")
        words.scroll_relative(y=way * (words.size.height - 1), animate=False)

    def action_leave(self) -> None:
        """Leave it unanswered."""
        self.dismiss("")


class Choosing(Question):
    """One of several answers; the first is the harmless one."""

    def __init__(self, title: str, words: str, rows: Sequence[Row]) -> None:
        super().__init__(title, words)
        self.rows = tuple(rows)

    def answers(self) -> ComposeResult:
        yield Menu(self.rows, classes="-small", jumps=True)

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        event.stop()
        self.dismiss(event.id)


class Answer(Line):
    """The line of a question."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Answer")]


class Typing(Question):
    """A line of text; hidden where it is a secret."""

    def __init__(self, title: str, words: str, *, secret: bool = False, kind: str = "text") -> None:
        """`kind`: as of a form's field; Tab completes a file or folder."""
        super().__init__(title, words)
        self.secret = secret
        self.kind = kind

    def answers(self) -> ComposeResult:
        with Horizontal(classes="brackets"):
            yield Static("[", markup=False)
            yield Answer(password=self.secret, kind=self.kind)
            yield Static("]", markup=False)

    @on(Line.Offers)
    def _offers(self, event: Line.Offers) -> None:
        self.wrong(event.words)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.taken(event.value)

    def taken(self, text: str) -> None:
        """Judge what was typed."""
        if text:
            self.dismiss(text)
        else:
            self.wrong("an empty answer is none")


class TypedWord(Typing):
    """The typed word that starts a change; anything else starts nothing."""

    def __init__(self, title: str, words: str, plan: Plan) -> None:
        super().__init__(title, words)
        self.plan = plan

    def answers(self) -> ComposeResult:
        yield Static(Content(f"To start, type  {self.plan.confirm}  and press Enter."), id="ask")
        yield from super().answers()

    def taken(self, text: str) -> None:
        """Only the very word will do."""
        word = self.plan.confirm
        if agrees(self.plan, text.strip()):
            self.dismiss(word)
        else:
            self.wrong(
                f"{text.strip()} is not {word}: nothing was started"
                if text.strip()
                else f"type {word}, or Esc to go back: nothing was started"
            )
