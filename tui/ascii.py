"""Every character a screen draws, in ASCII and in as many cells."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

DRAWN = {
    "─━┄┅┈┉═╌╍╴╶╸╺╼╾▔▁⎯": "-",
    "│┃┆┇┊┋║╎╏╵╷╹╻▏▕▎▊▌▐▍▋▉": "|",
    "┌┍┎┏┐┑┒┓└┕┖┗┘┙┚┛├┝┞┟┠┡┢┣┤┥┦┧┨┩┪┫┬┭┮┯┰┱┲┳┴┵┶┷┸┹┺┻┼╀╂╋╭╮╯╰╔╗╚╝╠╣╦╩╬": "+",
    "█▇▆▅▄▃▂▓▀■": "#",
    "░▒□": ".",
    "•●◉∙·⋅": "*",
    "○◯⭘": "o",
    "▶►▸→»❯›": ">",
    "◀◄◂←«❮‹": "<",
    "▲▴↑⌃": "^",
    "▼▾↓": "v",
    "✓✔☑": "x",
    "✗✘☒×": "x",
    "…": "~",
    "–—‐‑−": "-",
    "‘’‚": "'",
    "“”„": '"',
    "\u00a0\u2002\u2003\u2009": " ",
}


class _Table(dict[int, str]):
    """A translate table that works out what it does not know, once a character."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _nearest(chr(code))
        return found


def _nearest(char: str) -> str:
    if char < "\x7f":
        return char
    cells = get_character_cell_size(char)
    plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return plain[:cells].ljust(cells) if plain else "?" * cells


TABLE = _Table({ord(char): plain for chars, plain in DRAWN.items() for char in chars})


@lru_cache(4096)
def ascii_only(text: str) -> str:
    """`text` in ASCII, as wide as before."""
    return text if text.isascii() else text.translate(TABLE)


class CleanFilter(LineFilter):
    """Draws nothing that the terminal would act on, wherever a name came from."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments without control characters, as wide as before; `background` does not matter."""
        if all(control or text.isprintable() for text, _, control in segments):
            return segments
        return [each if each.control else Segment(_clean(each.text), each.style) for each in segments]


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else "?" * get_character_cell_size(char) for char in text)


class AsciiFilter(LineFilter):
    """Draws every line in ASCII, and says no colour of blanks: on a plain line each change of style is ten bytes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with their text translated; `background` does not matter."""
        drawn: list[Segment] = []
        for text, style, control in segments:
            before = drawn[-1] if drawn else None
            if before is not None and not control and not before.control and _alike(text, style, before.style):
                drawn[-1] = Segment(before.text + ascii_only(text), before.style)
            else:
                drawn.append(Segment(ascii_only(text), style, control))
        return drawn


def _alike(text: str, style: Style | None, before: Style | None) -> bool:
    """Whether `text` looks the same in either style."""
    if style == before:
        return True
    if style is None or before is None or text.strip(" "):
        return False
    marked = any(one.reverse or one.underline or one.strike for one in (style, before))
    return not marked and style.bgcolor == before.bgcolor
