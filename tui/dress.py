"""How the suite is drawn on this terminal: plain or rich, light or dark, and changed at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter, Monochrome, NoColor

from tui import console, themes
from tui.ascii import AsciiFilter, CleanFilter
from tui.console import Terminal
from tui.keyboard import KeyQueue


class Dressed(KeyQueue, inherit_bindings=False):
    """An app that asks of a terminal what that can show."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "turn_plain", "Plain or rich screen", show=False),
        Binding("ctrl+l", "redraw", "Draw anew", show=False),
    ]

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (80, "-whole")]
        for theme in themes.ALL:
            self.register_theme(theme)
        self._dress()

    def _dress(self) -> None:
        self.thrifty = not self.terminal.unicode
        self.set_class(self.thrifty, "-thrifty")
        self.theme = themes.of(self.terminal.colour, light=self.terminal.light).name

    def wear(self, terminal: Terminal) -> None:
        """Draw all anew, as for `terminal`."""
        self.terminal = terminal
        self._dress()
        self.action_redraw()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, less its choice for NO_COLOR, which it makes before the theme is known; then ours."""
        filters = [known for known in super().get_line_filters() if not isinstance(known, Monochrome | NoColor)]
        if self.terminal.colour == "mono":
            filters.append(NoColor())
        filters.append(CleanFilter())
        return filters if self.terminal.unicode else [*filters, AsciiFilter()]

    def action_turn_plain(self) -> None:
        """Plain or rich; remembered for this terminal."""
        plain = self.terminal.unicode
        self.wear(self.terminal.plain() if plain else self.terminal.rich())
        self._remember(self.terminal, plain)

    def action_turn_light(self) -> None:
        """Light or dark; remembered for this terminal."""
        self.wear(replace(self.terminal, light=not self.terminal.light))
        self._remember(self.terminal, self.terminal.light, "light")

    @work(thread=True, group="remember", exit_on_error=False)
    def _remember(self, terminal: Terminal, on: bool, what: str = "") -> None:
        console.remember(terminal, on, what)

    @on(Driver.SignalResume)
    def _went_on(self) -> None:
        """It was stopped, and the shell had the terminal meanwhile."""
        self.action_redraw()

    def action_redraw(self) -> None:
        """Draw every cell anew, for a line that dropped some."""
        self.paper.forget()
        for screen in self.screen_stack:
            screen.refresh(layout=True)
            for widget in screen.walk_children():
                widget.refresh()
