"""A list of any length: rows are drawn when they come into sight, and a move draws two lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Listing(ScrollView, can_focus=True):
    """Rows of any kind; `draw` says one as text, without its cursor."""

    DEFAULT_CSS = """
    Listing { height: 1fr; background: $background; scrollbar-size: 1 1; }
    Listing > .listing--cursor { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"listing--cursor", "listing--row"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open"),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "screenful(-1)", show=False),
        Binding("pagedown", "screenful(1)", show=False),
        Binding("home", "move(-1000000000)", show=False),
        Binding("end", "move(1000000000)", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a row."""

        listing: Listing
        row: Any

    @dataclass
    class Moved(Message):
        """The cursor stands on another row."""

        listing: Listing
        row: Any

    def __init__(self, draw: Callable[[Any], str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draw = draw
        self.rows: Sequence[Any] = ()
        self.cursor = 0

    @property
    def row(self) -> Any | None:
        """The row under the cursor, None in an empty list."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def fill(self, rows: Sequence[Any], cursor: int = 0) -> None:
        """Show other rows."""
        self.rows = rows
        self.cursor = max(0, min(cursor, len(rows) - 1))
        self.virtual_size = Size(0, len(rows))
        self._follow()
        self.refresh()
        self._tell()

    def grow(self) -> None:
        """More rows were appended to the sequence on show."""
        before = self.virtual_size.height
        self.virtual_size = Size(0, len(self.rows))
        if before < self.scroll_offset.y + self.size.height:
            self.refresh()
        if before == 0:
            self._tell()

    def redraw(self) -> None:
        """The row under the cursor says something else now."""
        self.refresh_line(self.cursor)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if at >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        here = at == self.cursor
        style = self.get_component_rich_style(f"listing--{'cursor' if here and self.has_focus else 'row'}")
        strip = Strip([Segment(f" {'>' if here else ' '} {self.draw(self.rows[at])}", style)])
        if strip.cell_length > width:  # a cut that is not shown would make two names look the same
            strip = Strip.join([strip.crop(0, width - 1), Strip([Segment("~", style)])])
        return strip.adjust_cell_length(width, style if here else self.rich_style)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        before, top = self.cursor, self.scroll_offset.y
        self.cursor = max(0, min(len(self.rows) - 1, self.cursor + by))
        if self.cursor == before:
            return
        self._follow()
        if self.scroll_offset.y == top:
            self.refresh_line(before)
            self.refresh_line(self.cursor)
        self._tell()

    def action_screenful(self, way: int) -> None:
        """A screenful on or back, one row of it kept in sight."""
        self.action_move(way * max(1, self.size.height - 1))

    def on_click(self, event: Click) -> None:
        """A click moves the cursor there; one where it stands chooses."""
        at = event.y + self.scroll_offset.y
        if at == self.cursor:
            self.action_choose()
        elif at < len(self.rows):
            self.action_move(at - self.cursor)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "choose" or bool(self.rows)

    def action_choose(self) -> None:
        """Tell which row was chosen."""
        if self.row is not None:
            self.post_message(self.Chosen(self, self.row))

    def _follow(self) -> None:
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)

    def _tell(self) -> None:
        if self.row is not None:
            self.post_message(self.Moved(self, self.row))
