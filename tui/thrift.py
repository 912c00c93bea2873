"""What a terminal shows is known cell by cell, and only what differs goes down the line.

Textual draws a widget anew where one letter of it changed; at 9600 baud a page of that is ten seconds. Here two
screens are compared: what is alike is not sent, blanks are one erase (EL), and lines that moved are moved by the
terminal itself (a scroll region with IND or RI), which every terminal since the VT100 can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from rich.color import ColorSystem
from rich.console import RenderableType
from rich.style import Style
from textual.app import App
from textual.screen import Screen
from textual.strip import Strip

Cell = tuple[str, str]
"""A character and the SGR parameters that it is drawn with, such as "1;36"."""
BLANK: Cell = (" ", "")
Row = list[Cell]

SEEN_ON_BLANK = {"4", "7", "9", *map(str, range(40, 48)), *map(str, range(100, 108))}
BRIDGE = 4  # cells alike that are sent again rather than jumped over: a jump costs as much
WORTH = 3  # lines that must come right by a scroll before it pays


@lru_cache(maxsize=1024)
def attributes(style: Style | None) -> str:
    """The SGR parameters of a style in 16 colours; the terminal's own colours need none."""
    if style is None:
        return ""
    drawn = style.render("x", color_system=ColorSystem.STANDARD)
    start, _, _ = drawn.partition("x")
    codes = start.removeprefix("\x1b[").removesuffix("m") if start.startswith("\x1b[") else ""
    return ";".join(code for code in codes.split(";") if code not in ("39", "49", ""))


def cells(strip: Strip, width: int) -> Row:
    """One line of the screen; what is no ASCII is a `?`, since only ASCII has one cell on every terminal."""
    row: Row = []
    for segment in strip:
        if segment.control:
            continue
        codes = attributes(segment.style)
        blank = (" ", codes if SEEN_ON_BLANK & set(codes.split(";")) else "")
        row += [blank if char == " " else (char if char.isascii() else "?", codes) for char in segment.text]
    return (row + [BLANK] * (width - len(row)))[:width]


class Paper:
    """What the terminal shows, and what must be sent to have it show something else."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.codes = ""
        self.at: tuple[int, int] | None = None  # column, row; None where it is not sure

    def forget(self) -> None:
        """The terminal may show anything: the next update draws every cell."""
        self.rows = []

    def update(self, new: Sequence[Row]) -> str:
        """The bytes, all ASCII, that turn what is shown into `new`."""
        out: list[str] = []
        if len(self.rows) != len(new) or (new and len(self.rows[0]) != len(new[0])):
            out.append("\x1b[m\x1b[r\x1b[2J\x1b[H")
            self.codes, self.at = "", (0, 0)
            self.rows = [[BLANK] * len(row) for row in new]
        out.append(self._scrolled(new))
        for y, row in enumerate(new):
            if row != self.rows[y]:
                out += self._line(y, row)
                self.rows[y] = list(row)
        return "".join(out)

    # ── one line ────────────────────────────────────────────────────────────────────────────────────

    def _line(self, y: int, row: Row) -> Iterator[str]:
        width = len(row)
        end = width
        while end and row[end - 1] == BLANK:
            end -= 1
        for first, last in _spans(self.rows[y], row):
            stop = min(last, max(end, first))
            if stop > first:
                yield self._move(first, y)
                yield from self._draw(row[first:stop])
                self.at = (stop, y) if stop < width else None
            if stop < last:  # the rest of the line is blank, now and as far as it goes
                yield self._move(stop, y)
                yield self._dress("")
                yield "\x1b[K"
                return

    def _draw(self, part: Sequence[Cell]) -> Iterator[str]:
        for char, codes in part:
            unseen = (char, codes) == BLANK and not SEEN_ON_BLANK & set(self.codes.split(";"))
            yield char if unseen else self._dress(codes) + char

    def _dress(self, codes: str) -> str:
        before, self.codes = self.codes, codes
        if codes == before:
            return ""
        if not codes:
            return "\x1b[m"
        return f"\x1b[{codes}m" if not before else f"\x1b[;{codes}m"

    def _move(self, x: int, y: int) -> str:
        here, self.at = self.at, (x, y)
        if here == (x, y):
            return ""
        if here and here[1] == y and x == here[0] - 1:
            return "\b"
        if here and here[1] == y and x > here[0]:
            return f"\x1b[{x - here[0]}C"
        if here and x == 0 and 0 <= y - here[1] <= 4:
            return "\r" + "\n" * (y - here[1])
        return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"

    # ── lines that moved ────────────────────────────────────────────────────────────────────────────

    def _scrolled(self, new: Sequence[Row]) -> str:
        """Have the terminal move lines that went up or down together, where that saves drawing them."""
        top, bottom, by = _moved(self.rows, new)
        if not by:
            return ""
        fresh = [[BLANK] * len(new[0]) for _ in range(abs(by))]
        block = self.rows[top : bottom + 1]
        self.rows[top : bottom + 1] = block[by:] + fresh if by > 0 else fresh + block[:by]
        where, go = (bottom, "\x1bD") if by > 0 else (top, "\x1bM")
        self.at = None  # DECSTBM homes the cursor on most terminals, and not on all
        return f"{self._dress('')}\x1b[{top + 1};{bottom + 1}r\x1b[{where + 1}H{go * abs(by)}\x1b[r"


def _spans(old: Row, new: Row) -> list[tuple[int, int]]:
    """Where two lines differ, as (first, behind the last); near ones taken together."""
    found: list[tuple[int, int]] = []
    for at in (at for at, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]):
        if found and at - found[-1][1] <= BRIDGE:
            found[-1] = (found[-1][0], at + 1)
        else:
            found.append((at, at + 1))
    return found


def _moved(old: Sequence[Row], new: Sequence[Row]) -> tuple[int, int, int]:
    """(top, bottom, by): the lines between were `by` lines further down before; `by` is 0 where none moved."""
    height = len(new)
    worth = [old[y] != row and any(cell != BLANK for cell in row) for y, row in enumerate(new)]
    best, most = (0, 0, 0), WORTH - 1
    if sum(worth) <= most:
        return best
    for by in [*range(1, height - 1), *range(-1, 1 - height, -1)]:
        first, gained = -1, 0
        for y in range(max(0, -by), min(height, height - by)):
            if new[y] != old[y + by]:
                first, gained = -1, 0
                continue
            first = y if first < 0 else first
            gained += worth[y]
            if gained > most:
                most, best = gained, (min(first, first + by), max(y, y + by), by)
    return best


class Thrifty(App[str]):
    """An app that may be drawn through a `Paper`; `thrifty` says whether it is."""

    thrifty = False

    def __init__(self) -> None:
        super().__init__()
        self.paper = Paper()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Textual's own way to the terminal, which this takes the place of where bytes count."""
        drawing = self._running and not self._closed and not self.is_headless and self._driver is not None
        if not (self.thrifty and drawing):
            super()._display(screen, renderable)
            return
        if renderable is not None and not self._batch_count and self.screen.size:
            strips = self.screen._compositor.render_strips()  # no public way to the lines of a screen
            sent = self.paper.update([cells(strip, self.screen.size.width) for strip in strips])
            if sent and self._driver:
                self._driver.write(sent)
                self._driver.flush()
        self.post_display_hook()

    def _set_pointer_shape(self, shape: str) -> None:
        """A mouse's shape: a serial line has none, and an old terminal prints the sequence."""
        if not self.thrifty:
            super()._set_pointer_shape(shape)
