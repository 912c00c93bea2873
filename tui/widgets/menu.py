"""A list of rows to choose from, the cursor told by `>` and not by colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click, Key
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip


@dataclass(frozen=True)
class Row:
    """One line; a heading where it has no id. `why` goes to the line below the list; `number` chooses it.

    named: whether it begins with its name, so that letters go to it.
    """

    text: str
    id: str = ""
    why: str = ""
    number: str = ""
    named: bool = True


class Menu(ScrollView, can_focus=True):
    """Rows with headings; up and down move, Enter chooses."""

    DEFAULT_CSS = """
    Menu { height: 1fr; background: $background; scrollbar-size: 1 1; }
    Menu.-small { height: auto; }
    Menu > .menu--heading { color: $primary; text-style: bold; }
    Menu > .menu--cursor { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"menu--heading", "menu--cursor", "menu--row"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose"),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
    ]
    cursor: reactive[int] = reactive(0, repaint=False)

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a row."""

        menu: Menu
        id: str

        @property
        def control(self) -> Menu:
            """The menu, for @on selectors."""
            return self.menu

    @dataclass
    class Moved(Message):
        """The cursor stands on another row."""

        menu: Menu
        row: Row

    def __init__(
        self, rows: Sequence[Row] = (), *, id: str | None = None, classes: str | None = None, jumps: bool = False
    ) -> None:
        """`jumps`: letters go to the row that begins with them."""
        super().__init__(id=id, classes=classes)
        self.rows: tuple[Row, ...] = tuple(rows)
        self.jumps = jumps
        self.typed = ""

    def on_mount(self) -> None:
        self.fill(self.rows)

    def fill(self, rows: Sequence[Row]) -> None:
        """Show other rows, the cursor staying on the row it was on where that is still there."""
        known = self.row.id if self.row else ""
        self.rows, self.typed = tuple(rows), ""
        self.virtual_size = Size(0, len(self.rows))
        where = next((at for at, row in enumerate(self.rows) if row.id and row.id == known), None)
        self.cursor = self._nearest(0, 1) if where is None else where
        self.refresh(layout=self.has_class("-small"))
        self.refresh_bindings()
        self._tell()

    @property
    def row(self) -> Row | None:
        """The row under the cursor, None in an empty list."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) and self.rows[self.cursor].id else None

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.rows)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if at >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        row = self.rows[at]
        here = at == self.cursor and bool(row.id)
        part = "menu--cursor" if here and self.has_focus else "menu--row" if row.id else "menu--heading"
        style = self.get_component_rich_style(part)
        mark = "> " if here else "  " if row.id else ""
        strip = Strip([Segment(" " + mark + row.text, style)])
        if strip.cell_length > width:
            strip = Strip.join([strip.crop(0, width - 1), Strip([Segment("~", style)])])
        return strip.adjust_cell_length(width, style if here else self.rich_style)

    def go_to(self, id: str) -> None:
        """Put the cursor on the row of that id, where there is one."""
        self.cursor = next((at for at, row in enumerate(self.rows) if row.id and row.id == id), self.cursor)

    def action_move(self, by: int) -> None:
        """Move the cursor over headings and empty rows."""
        self.typed = ""
        aim = max(0, min(len(self.rows) - 1, self.cursor + by))
        found = self._nearest(aim, 1 if by > 0 else -1)
        if found == self.cursor and by == -1:
            self.scroll_to(y=0, animate=False)
        self.cursor = found

    def _nearest(self, aim: int, way: int) -> int:
        ids = [bool(row.id) for row in self.rows]
        ahead = range(aim, len(ids)) if way > 0 else range(aim, -1, -1)
        behind = range(aim, -1, -1) if way > 0 else range(aim, len(ids))
        return next((at for at in (*ahead, *behind) if ids[at]), 0)

    def watch_cursor(self, before: int, now: int) -> None:
        """Two lines are drawn anew, not the list: on a slow line that is the difference between 0.2 and 2 KB."""
        top = 0 if self._nearest(0, 1) == now else now  # the headings over the first row come with it
        self.scroll_to_region(Region(0, top, 1, now - top + 1), animate=False, force=True)
        self.refresh_line(before)
        self.refresh_line(now)
        self._tell()

    # ── typing and clicking ─────────────────────────────────────────────────────────────────────────

    def on_key(self, event: Key) -> None:
        """A digit chooses its row; letters go to the row that begins with what was typed; others are not taken."""
        letter = event.character if event.is_printable else None
        if event.key == "backspace" and self.typed:
            self.typed = self.typed[:-1]
        elif (
            letter
            and letter.isdigit()
            and not self.typed
            and (named := [row for row in self.rows if row.number == letter])
        ):
            self.go_to(named[0].id)
            self.action_choose()
        elif not (letter and self.jumps and not self._bound(letter) and self._jump(self.typed + letter)):
            self.typed = ""  # what is typed after another key begins anew
            return
        event.stop()
        event.prevent_default()

    def _numbered(self, letter: str) -> Row | None:
        return next((row for row in self.rows if row.id and letter.isdigit() and row.number == letter), None)

    def _bound(self, letter: str) -> bool:
        """Whether a first letter is a key of the screen."""
        return not self.typed and (letter == " " or letter in self.screen.active_bindings)

    def _jump(self, typed: str) -> bool:
        """Go to the first row that begins so, else to the first that has it in it; whether there is one."""
        texts = [row.text.lower() if row.id else "" for row in self.rows]
        begin = (at for at, text in enumerate(texts) if text.startswith(typed.lower()) and self.rows[at].named)
        within = (at for at, text in enumerate(texts) if typed.lower() in text)
        at = next(begin, next(within, -1) if len(typed) > 1 else -1)
        if at >= 0:
            self.cursor, self.typed = at, typed
        return at >= 0

    def on_click(self, event: Click) -> None:
        """A click chooses."""
        at = event.y + self.scroll_offset.y
        if at < len(self.rows) and self.rows[at].id:
            self.cursor = at
            self.action_choose()

    def _tell(self) -> None:
        if self.row:
            self.post_message(self.Moved(self, self.row))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "choose" or self.row is not None

    def action_choose(self) -> None:
        """Tell which row was chosen."""
        if self.row:
            self.post_message(self.Chosen(self, self.row.id))
