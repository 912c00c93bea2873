"""Text to read, of any length: only what is in sight is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Lines(ScrollView, can_focus=True):
    """Lines, scrolled by keyboard."""

    DEFAULT_CSS = """
    Lines { height: 1fr; background: $background; scrollbar-size: 1 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "page_down", "Next screenful")]

    def __init__(self) -> None:
        super().__init__()
        self.lines: Sequence[str] = ()

    def fill(self, lines: Sequence[str]) -> None:
        """Show other lines, from the first on."""
        self.lines = lines
        self.virtual_size = Size(0, len(lines))
        self.scroll_home(animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        text = self.lines[at] if at < len(self.lines) else ""
        return Strip([Segment(f" {text}", self.rich_style)]).adjust_cell_length(self.size.width, self.rich_style)
