"""A unified diff, to the byte: lines too long for the screen go on after a `~`, which no diff begins a line with."""

from __future__ import annotations

from rich.cells import cell_len, get_character_cell_size
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

BESIDE = 110  # cells from which old and new stand side by side
STYLES = {"-": "$error", "+": "$success", "@": "$primary"}


class Diff(Static):
    """The lines of `text`, folded at the width there is."""

    DEFAULT_CSS = """
    Diff { height: auto; text-wrap: nowrap; }
    """

    def __init__(self, text: str, *, classes: str | None = None) -> None:
        self.lines_of_text = [printable(line) for line in text.splitlines()]
        super().__init__(drawn(self.lines_of_text, 58), classes=classes)

    def on_resize(self, event: Resize) -> None:
        width = max(10, event.size.width)
        self.update((beside if width >= BESIDE else drawn)(self.lines_of_text, width))


def printable(line: str) -> str:
    """Tabs as spaces, and what else is no sign as its escape."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line.expandtabs())


def drawn(lines: list[str], width: int) -> Content:
    """The lines with their colours, each at most `width` cells."""
    parts = []
    for line in lines:
        style = STYLES.get(line[:1], "")
        parts += [Content.styled(part, style) if style else Content(part) for part in folded(line, width)]
    return Content("\n").join(parts)


def folded(line: str, width: int) -> list[str]:
    """`line` in pieces of at most `width` cells; every piece but the first begins with `~`."""
    pieces, piece, room = [], "", width
    for char in line:
        cells = get_character_cell_size(char)
        if cells > room:
            pieces.append(piece)
            piece, room = "~", width - cell_len("~")
        piece += char
        room -= cells
    return [*pieces, piece]


def beside(lines: list[str], width: int) -> Content:
    """Old at the left, new at the right; what is alike stands on both sides."""
    half = (width - 3) // 2
    rows = [Content.styled(line, STYLES.get(line[:1], "")) for line in lines[:2]]
    old, new = list[str](), list[str]()
    for line in [*lines[2:], "@"]:
        if line[:1] == "-":
            old.append(line)
        elif line[:1] == "+":
            new.append(line)
        else:
            rows += _pairs(old, new, half)
            old, new = [], []
            if line[:1] == "@":
                rows += [Content.styled(line, STYLES["@"])] if line != "@" else []
            else:
                rows += _pairs([line], [line], half)
    return Content("\n").join(rows)


def _pairs(old: list[str], new: list[str], half: int) -> list[Content]:
    left, right = ([part for line in side for part in _parts(line, half)] for side in (old, new))
    count = max(len(left), len(right))
    both = zip(*(side + [Content(" " * half)] * (count - len(side)) for side in (left, right)), strict=True)
    return [Content.assemble(one, " | ", other) for one, other in both]


def _parts(line: str, half: int) -> list[Content]:
    pieces = [piece + " " * (half - cell_len(piece)) for piece in folded(line, half)]
    style = STYLES.get(line[:1], "")
    return [Content.styled(piece, style) if style else Content(piece) for piece in pieces]
