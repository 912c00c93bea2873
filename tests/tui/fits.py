"""What is cut on a screen: keys, titles, captions and rows that have less room than they need."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from textual.widget import Widget
from textual.widgets import Static

from tests.tui.conftest import type_of_pilot
from tui.widgets.flag import Flag
from tui.widgets.keys import Keys, fitting
from tui.widgets.listing import Listing
from tui.widgets.menu import Menu
from tui.widgets.pick import Pick

WHOLE = 80  # columns from which every key has room
LINES = ("title", "steps", "columns", "name", "bar")
TEXTS = ("why", "said", "ask", "heading")


def cut(pilot: type_of_pilot) -> Iterator[str]:
    """What does not fit where it stands on the screen on show; under 80 columns a title or a row may end in `~`."""
    screen, narrow = pilot.app.screen, pilot.app.size.width < WHOLE
    for widget in screen.walk_children():
        if not widget.is_on_screen or not widget.size.width:
            continue
        if widget.id == "box" and not screen.region.contains_region(widget.region):
            yield f"the box {widget.region} is not on the screen"
        if isinstance(widget, Keys):
            yield from _keys(widget, narrow)
        elif isinstance(widget, Static):
            yield from _words(widget, narrow)
        elif isinstance(widget, Flag) and cell_len(widget.label) + 6 > widget.size.width * widget.size.height:
            yield f"{widget.label!r} has {widget.size.width}"
        elif isinstance(widget, Pick):
            yield from (label for _, label, _ in widget.options if cell_len(label) + 6 > widget.size.width)
        elif not narrow:
            yield from _rows(widget)


def _keys(keys: Keys, narrow: bool) -> Iterator[str]:
    said, room = str(keys.content), keys.content_size.width
    if cell_len(said) > room:
        yield f"keys need {cell_len(said)} of {room}: {said}"
    if not narrow and fitting(keys.pairs, room)[0] != keys.pairs:
        yield f"keys left out for {room}: {keys.pairs}"


def _words(widget: Static, narrow: bool) -> Iterator[str]:
    text, width, height = str(widget.content), widget.content_size.width, widget.content_size.height
    if widget.id in LINES:
        if not narrow and any(cell_len(line) > width for line in text.splitlines()):
            yield f"{text!r} has {width}"
    elif widget.has_class("caption") or widget.id in TEXTS:
        needed = widget.visual.get_height(widget.styles, width)
        if needed > height:
            yield f"{text!r} has {height} lines of {width}, and needs {needed}"


def _rows(widget: Widget) -> Iterator[str]:
    room = widget.scrollable_content_region.width
    if isinstance(widget, Menu):
        yield from (row.text for row in widget.rows if cell_len(row.text) + 3 > room)
    elif isinstance(widget, Listing):
        yield from (text for row in widget.rows if cell_len(text := widget.draw(row)) + 3 > room)
