"""The one reader: reports, plans, logs, help and files are read, searched and copied by the same keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from engines.job.errors import CrashcartError
from tui.widgets.calm import LeanScreen
from tui.widgets.copying import copied
from tui.widgets.keys import Keys
from tui.widgets.line import Line
from tui.widgets.lines import Lines
from tui.widgets.rendering import Said, plain


class Wanted(Line):
    """The line that says what is searched for."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Find")]


class Reading(LeanScreen[None]):
    """A text under its title; `/` searches, `y` copies."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "Find"),
        Binding("y", "copy", "Copy"),
        Binding("escape,ctrl+o", "back", "Back"),
        Binding("enter,q", "dismiss(None)", "Back", show=False),
    ]

    def __init__(self, title: str, why: str = "", waiting: str = "Reading ...") -> None:
        super().__init__()
        self.heading = title
        self.why = why
        self.waiting = waiting

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        yield Lines(id="text")
        with Horizontal(id="narrow"):
            yield Static("Find [", markup=False)
            yield Wanted()
            yield Static("]", markup=False)
        yield Static(id="why")
        yield Keys()

    def on_mount(self) -> None:
        self.lines.focus()
        self.lines.fill([Said(self.waiting)])
        self.say(self.why)

    @property
    def lines(self) -> Lines:
        """Where the text stands."""
        return self.query_one(Lines)

    def text(self) -> str:
        """What `y` copies: as it is drawn, unless it has a form that is better kept."""
        return "\n".join(line.text for line in self.lines.lines) + "\n"

    def say(self, words: str) -> None:
        """Words on the line under the text."""
        widget = self.query_one("#why", Static)
        if str(widget.content) != words:
            widget.update(Content(words), layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed to be found, letters are letters."""
        typing = self.is_mounted and self.query_one(Wanted).has_focus
        return not typing if action in ("find", "copy", "dismiss") else True

    @on(Lines.Moved)
    def _moved(self) -> None:
        place, width = self.lines.place(), self.size.width - 2
        room = max(10, width - cell_len(place) - 1)
        front = f"crashcart | {self.heading}"
        front = front if cell_len(front) <= room else "~" + front[1 - room :]
        title = self.query_one("#title", Static)
        words = f"{front}{' ' * (width - cell_len(front) - cell_len(place))}{place}"
        if str(title.content) != words:
            title.update(Content(words), layout=False)
        if self.lines.matches:
            self.say(f"{self.lines.needle}: {self.lines.at + 1} of {len(self.lines.matches)}; n next, N before")

    # ── searching ───────────────────────────────────────────────────────────────────────────────────

    def action_find(self) -> None:
        """Type what to look for."""
        self.query_one("#narrow").display = True
        line = self.query_one(Wanted)
        line.value = ""
        line.focus()

    @on(Input.Submitted)
    def _wanted(self, event: Input.Submitted) -> None:
        event.stop()
        needle = event.value
        self._typed()
        if needle and not self.lines.search(needle):
            self.say(f"nowhere in this text: {needle}")

    def _typed(self) -> None:
        self.query_one("#narrow").display = False
        self.lines.focus()

    def action_back(self) -> None:
        """Out of the search, or out of the text."""
        if self.query_one(Wanted).has_focus:
            self._typed()
        else:
            self.dismiss(None)

    def action_copy(self) -> None:
        """Hand the text to the terminal's clipboard."""
        self.say(copied(self.app, self.text()))


class Text(Reading):
    """Shows what `source` returns; it may take its time."""

    def __init__(
        self,
        title: str,
        source: Callable[[], str],
        why: str = "",
        waiting: str = "Reading ...",
        form: Callable[[str], Sequence[Said]] = plain,
    ) -> None:
        """`form`: the text as lines, such as `rendered` for Markdown."""
        super().__init__(title, why, waiting)
        self.source = source
        self.form = form
        self.found = ""

    def on_mount(self) -> None:
        super().on_mount()
        # A daemon: the doctor may try something for half a minute, and quitting must not wait for it.
        threading.Thread(target=self._read, daemon=True).start()

    def text(self) -> str:
        return self.found or super().text()

    @dataclass
    class Found(Message):
        """The text is there."""

        text: str
        lines: Sequence[Said]

    def _read(self) -> None:
        try:
            text = self.source()
            lines = self.form(text)
        except (CrashcartError, OSError, ValueError) as error:
            text, lines = "", plain(f"! {error}")
        self.post_message(self.Found(text, lines))

    @on(Found)
    def _found(self, event: Found) -> None:
        self.found = event.text
        self.lines.fill(event.lines)
