"""Text to read as lines with a meaning, and those lines at the width that there is: no path is ever broken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from engines.job.units import unmarked
from tui.widgets.diff import folded, printable

DIFF = {"+": "added", "-": "removed", "@": "place"}
CELL = re.compile(r"(?<!\\)\|")
WIDEST = 50  # cells of a table's column; what is longer pushes its row


@dataclass(frozen=True)
class Said:
    """One line. `style` is title, added, removed, place or none; what does not fit goes on `hang` cells to the right.

    exact: every blank counts, so it is folded where it is full, and goes on after a `~`.
    """

    text: str
    style: str = ""
    hang: int = 0
    exact: bool = False


@dataclass(frozen=True)
class Drawn:
    """A row: the part of line number `line` from `start` on, behind `lead`."""

    text: str
    line: int
    start: int = 0
    lead: str = ""


def plain(text: str) -> list[Said]:
    """Text that is no Markdown."""
    return [_line(printable(line)) for line in text.splitlines()]


def _line(text: str, style: str = "") -> Said:
    blank = len(text) - len(text.lstrip())
    columns = re.match(r" *\S+(?: \S+)* {2,}", text)
    return Said(text, style, min(columns.end() if columns else blank, 20))


def changes(lines: Iterable[str]) -> list[Said]:
    """A plan as `plan_lines` says it, its diffs told apart."""
    found = []
    for line in map(printable, lines):
        style = DIFF.get(line[2:3], "") if line.startswith("  ") else ""
        found.append(Said(line, style, exact=bool(style)) if style else Said(line, hang=4))
    return found


# ── our own Markdown, which is only headings, lists, one table shape, fences and pictures ────────────


def rendered(text: str) -> list[Said]:
    """A report without its marks."""
    lines, found = text.splitlines(), list[Said]()
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            fence = line[: len(line) - len(line.lstrip("`"))]
            end = next((place for place in range(at + 1, len(lines)) if lines[place] == fence), len(lines))
            found += _fenced(lines[at + 1 : end], diff=line.endswith("diff"))
            at = end + 1
        elif line.startswith("|"):
            end = next((place for place in range(at, len(lines)) if not lines[place].startswith("|")), len(lines))
            found += _table(lines[at:end])
            at = end
        else:
            found.append(_said(line))
            at += 1
    return found


def _said(line: str) -> Said:
    if heading := re.match(r"#{1,4} ", line):
        return Said(_words(line[heading.end() :]), "title")
    if line.startswith("**") and line.endswith("**") and len(line) > 4:
        return Said(_words(line[2:-2]), "title")
    if line.startswith("!["):
        title, _, name = line[2:].removesuffix(")").rpartition("](")
        return Said(f"(a picture in the run's folder: {_words(name)}; {_words(title)})", hang=2)
    mark = re.match(r" *(- |\d+\. )", line)
    return Said(_words(line), hang=mark.end() if mark else 0)


def _words(text: str) -> str:
    return printable(unmarked(text))


def _fenced(lines: Sequence[str], *, diff: bool) -> list[Said]:
    if diff:
        return [Said(line, DIFF.get(line[:1], ""), exact=True) for line in map(printable, lines)]
    return [Said(f"  {line}", hang=4) for line in map(printable, lines)]


def _table(lines: Sequence[str]) -> list[Said]:
    rows = [[_words(cell.strip()) for cell in CELL.split(line.strip()[1:-1])] for line in lines]
    rows = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
    count = max(map(len, rows), default=0)
    widths = [min(WIDEST, max(cell_len(row[at]) for row in rows if at < len(row))) for at in range(count)]
    told = ["  ".join(f"{cell:<{widths[at]}}" for at, cell in enumerate(row)).rstrip() for row in rows]
    return [Said(text, "title" if at == 0 else "", hang=4) for at, text in enumerate(told)]


# ── at a width ──────────────────────────────────────────────────────────────────────────────────────


def laid(lines: Sequence[Said], width: int) -> list[Drawn]:
    """The rows of all lines; a word that is longer than a row has one of its own, and is as long as it is."""
    return [row for at, line in enumerate(lines) for row in _rows(line, at, max(20, width))]


def _rows(line: Said, at: int, width: int) -> Iterator[Drawn]:
    if cell_len(line.text) <= width:
        yield Drawn(line.text, at)
    elif line.exact:
        start = 0
        for number, piece in enumerate(folded(line.text, width)):
            lead = "~" if number else ""
            yield Drawn(piece[len(lead) :], at, start, lead)
            start += len(piece) - len(lead)
    else:
        yield from _wrapped(line.text, at, width, " " * min(line.hang, width // 2))


def _wrapped(text: str, at: int, width: int, hang: str) -> Iterator[Drawn]:
    start, end, lead = 0, 0, ""
    for word in re.finditer(r"^ *\S+|\S+", text):
        if end > start and cell_len(lead) + cell_len(text[start : word.end()]) > width:
            yield Drawn(text[start:end], at, start, lead)
            start, lead = word.start(), hang
        if cell_len(lead) + cell_len(word[0]) > width:
            lead = ""  # a path that has little room gets all there is
        end = word.end()
    yield Drawn(text[start:], at, start, lead)
