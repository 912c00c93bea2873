"""Questions that stand above a page until they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui.widgets.calm import CalmModal
from tui.widgets.keys import Keys
from tui.widgets.line import SHOWN, Line
from tui.widgets.menu import Menu, Row


class Question(CalmModal[str]):
    """A box with words, something to answer with, and the keys; dismissed with "" where it is left unanswered."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "leave", "Back")]

    def __init__(self, title: str, words: str) -> None:
        super().__init__()
        self.words = words
        self.heading = title

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(self.heading), id="heading")
            yield Static(Content(self.words), id="words")
            yield from self.answers()
            yield Static("", id="wrong")
            yield Keys()

    def answers(self) -> ComposeResult:
        """The widgets to answer with."""
        raise NotImplementedError

    def wrong(self, words: str) -> None:
        """Say under the answer why it will not do."""
        self.query_one("#wrong", Static).update(Content(words))

    def action_leave(self) -> None:
        """Leave it unanswered."""
        self.dismiss("")


class Choosing(Question):
    """One of several answers; the first is the harmless one."""

    def __init__(self, title: str, words: str, rows: Sequence[Row]) -> None:
        super().__init__(title, words)
        self.rows = tuple(rows)

    def answers(self) -> ComposeResult:
        yield Menu(self.rows, classes="-small")

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
        self.wrong("  ".join(event.names[:SHOWN]))

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

    def __init__(self, title: str, words: str, word: str) -> None:
        super().__init__(title, f"{words}\n\nTo start, type  {word}  and press Enter.")
        self.word = word

    def taken(self, text: str) -> None:
        """Only the very word will do."""
        if text.strip() == self.word:
            self.dismiss(self.word)
        else:
            self.wrong(
                f"{text.strip() or 'nothing'} is not {self.word}: nothing was started"
                if text.strip()
                else f"type {self.word}, or Esc to go back: nothing was started"
            )
