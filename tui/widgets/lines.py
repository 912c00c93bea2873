"""Text to read, of any length: only what is in sight is drawn; searched as a pager is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.rendering import Drawn, Said, laid

Match = tuple[int, int, int]
"""A line's number, and where in it something was found."""


class Lines(ScrollView, can_focus=True):
    """Lines, scrolled by keyboard."""

    DEFAULT_CSS = """
    Lines { height: 1fr; background: $background; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    Lines > .lines--title { color: $primary; text-style: bold; }
    Lines > .lines--added { color: $success; }
    Lines > .lines--removed { color: $error; }
    Lines > .lines--place { color: $primary; }
    Lines > .lines--found { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"lines--{name}" for name in ("title", "added", "removed", "place", "found")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "page_down", "Next screenful"),
        Binding("b", "page_up", "Screenful back", show=False),
        Binding("g", "scroll_home", "First line", show=False),
        Binding("G", "scroll_end", "Last line", show=False),
        Binding("n", "next(1)", "Next found", show=False),
        Binding("N", "next(-1)", "Found before", show=False),
    ]

    class Moved(Message):
        """Another part is in sight, or something was found."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[Said] = []
        self.rows: list[Drawn] = []
        self.needle = ""
        self.matches: list[Match] = []
        self.at = 0

    def fill(self, lines: Sequence[str | Said]) -> None:
        """Show other lines, from the first on."""
        self.lines = [Said(line, exact=True) if isinstance(line, str) else line for line in lines]
        self.needle, self.matches = "", []
        self._lay()
        self.scroll_home(animate=False)

    def on_resize(self, event: Resize) -> None:
        """Lay the lines out anew, the first one in sight staying there."""
        top = self.rows[self.scroll_offset.y].line if self.scroll_offset.y < len(self.rows) else 0
        self._lay()
        if top:
            self.scroll_to(y=next(at for at, row in enumerate(self.rows) if row.line == top), animate=False, force=True)

    def _lay(self) -> None:
        self.rows = laid(self.lines, (self.size.width or 80) - 2)
        widest = max((len(row.lead) + len(row.text) for row in self.rows), default=0)
        self.virtual_size = Size(widest + 2 if widest + 2 > self.size.width else 0, len(self.rows))
        self.refresh()
        self.post_message(self.Moved())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Moved())

    def place(self) -> str:
        """`3/10`: which screenful of how many is in sight."""
        height = max(1, self.size.height)
        count = max(1, -(-len(self.rows) // height))
        here = count if self.scroll_offset.y >= self.max_scroll_y else self.scroll_offset.y // height + 1
        return f"{here}/{count}"

    # ── searching ───────────────────────────────────────────────────────────────────────────────────

    def search(self, needle: str) -> bool:
        """Go to the first place from here on that has it, capitals not minded; whether there is one."""
        self.needle = needle
        pattern = re.compile(re.escape(needle), re.IGNORECASE)
        self.matches = [
            (at, found.start(), found.end())
            for at, line in enumerate(self.lines)
            for found in (pattern.finditer(line.text) if needle else ())
        ]
        top = self.rows[self.scroll_offset.y].line if self.scroll_offset.y < len(self.rows) else 0
        self.at = next((at for at, match in enumerate(self.matches) if match[0] >= top), 0)
        self._go()
        return bool(self.matches)

    def action_next(self, way: int) -> None:
        """The next place that has it, round the end."""
        if self.matches:
            self.at = (self.at + way) % len(self.matches)
            self._go()

    def _go(self) -> None:
        if self.matches:
            line, start, _ = self.matches[self.at]
            fitting = [at for at, row in enumerate(self.rows) if row.line == line and row.start <= start]
            row = fitting[-1] if fitting else 0
            if not self.scroll_offset.y <= row < self.scroll_offset.y + self.size.height:
                self.scroll_to(y=max(0, row - self.size.height // 3), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────────

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        base, width = self.rich_style, self.size.width
        if at >= len(self.rows):
            return Strip.blank(width, base)
        row = self.rows[at]
        name = self.lines[row.line].style
        style = self.get_component_rich_style(f"lines--{name}") if name else base
        strip = Strip([Segment(f" {row.lead}", style), *self._marked(row, style)])
        x = self.scroll_offset.x
        if strip.cell_length - x > width:  # a cut that is not shown would make two paths look the same
            strip = Strip.join([strip.crop(x, x + width - 1), Strip([Segment("~", style)])])
        elif x:
            strip = strip.crop(x, strip.cell_length)
        return strip.adjust_cell_length(width, base)

    def _marked(self, row: Drawn, style: Style) -> list[Segment]:
        """The row's text, what was found in it made seen."""
        found = self.get_component_rich_style("lines--found") if self.matches else style
        parts, done = list[Segment](), 0
        for line, first, last in self.matches if self.matches else ():
            start, end = max(done, first - row.start), min(len(row.text), last - row.start)
            if line == row.line and start < end:
                parts += [Segment(row.text[done:start], style), Segment(row.text[start:end], found)]
                done = end
        return [*parts, Segment(row.text[done:], style)]
