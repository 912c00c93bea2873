"""A screen that is a menu: its title above, what the row under the cursor is for below."""

from __future__ import annotations

from typing import TypeVar

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.menu import Menu, Row

T = TypeVar("T")


class MenuScreen(LeanScreen[T]):
    """Title, menu, words on the row under the cursor, keys."""

    def composed(self, title: str, menu: Menu) -> ComposeResult:
        """What `compose` of such a screen yields; of a long title the end says more than the beginning."""
        room = self.app.size.width - 2
        yield Static(Content(title if len(title) <= room else "~" + title[1 - room :]), id="title")
        yield menu
        yield Static(id="why")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(Menu).focus()

    @on(Menu.Moved)
    def _row_under_the_cursor(self, event: Menu.Moved) -> None:
        self.moved(event.row)

    def moved(self, row: Row) -> None:
        """The cursor came to a row."""
        self.say(row.why)

    def say(self, text: str) -> None:
        """Put words below the menu."""
        self.query_one("#why", Static).update(Content(text), layout=False)
