"""A text to read: a report, the doctor's findings, help."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from engines.job.errors import CrashcartError
from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys


class Sheet(VerticalScroll, can_focus=True):
    """Scrolled by keyboard."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "page_down", "Next screenful")]


class Text(LeanScreen[None]):
    """Shows what `source` returns; it may take its time."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o,enter,q", "dismiss(None)", "Back")]

    def __init__(self, title: str, source: Callable[[], str], why: str = "", waiting: str = "Reading ...") -> None:
        super().__init__()
        self.heading = title
        self.source = source
        self.why = why
        self.waiting = waiting

    def compose(self) -> ComposeResult:
        yield Static(Content(f"crashcart | {self.heading}"), id="title")
        with Sheet():
            yield Static(Content(self.waiting), id="text")
        yield Static(Content(self.why), id="why")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(Sheet).focus()
        # A daemon: the doctor may try something for half a minute, and quitting must not wait for it.
        threading.Thread(target=self._read, daemon=True).start()

    @dataclass
    class Found(Message):
        """The text is there."""

        text: str

    def _read(self) -> None:
        try:
            text = self.source()
        except (CrashcartError, OSError, ValueError) as error:
            text = f"! {error}"
        self.post_message(self.Found(text))

    @on(Found)
    def _found(self, event: Found) -> None:
        lines = ["".join(char for char in line.expandtabs() if char.isprintable()) for line in event.text.splitlines()]
        self.query_one("#text", Static).update(Content("\n".join(lines)))
