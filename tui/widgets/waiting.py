"""A box that stands while something is made, tells how long it has taken, and can be left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.widgets.calm import CalmModal
from tui.widgets.keys import Keys

WORDS = "{} s. Esc leaves it; what is made by then is kept for the next time."


class Waiting(CalmModal[object]):
    """Dismissed with what `make` gave, with words where it failed, and with None where it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "dismiss(None)", "Leave")]

    @dataclass
    class Made(Message):
        """It is there, or why it is not."""

        what: object

    def __init__(self, title: str, make: Callable[[], object]) -> None:
        super().__init__()
        self.heading = title
        self.make = make
        self.since = time.monotonic()

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(self.heading), id="heading")
            yield Static(Content(WORDS.format(0)), id="said")
            yield Keys()

    def on_mount(self) -> None:
        self.set_interval(1.0, self._tick)
        threading.Thread(target=self._make, daemon=True).start()  # quitting must not wait for it

    def _tick(self) -> None:
        words = WORDS.format(int(time.monotonic() - self.since))
        self.query_one("#said", Static).update(Content(words), layout=False)

    def _make(self) -> None:
        try:
            made = self.make()
        except Exception as error:  # noqa: BLE001  whatever it is, its words are shown and not its traceback
            made = str(error) or type(error).__name__
        self.post_message(self.Made(made))

    @on(Made)
    def _made(self, event: Made) -> None:
        if self.is_attached and self.app.screen is self:
            self.dismiss(event.what)
