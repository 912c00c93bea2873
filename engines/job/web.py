"""A report as one HTML page that carries its pictures and styles and needs nothing else."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from engines.job.report import Report, markdown
from engines.job.units import unmarked

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1b1b1b;background:#fff}
pre{background:#f4f4f2;border:1px solid #ddd;padding:.7em;overflow-x:auto;font-size:13px;line-height:1.35}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .7em;text-align:left}
h1{font-size:1.5em}h2{font-size:1.15em;border-bottom:1px solid #ddd;margin-top:2em}h3{font-size:1em}img{max-width:100%}
ins{background:#e3f4e1;text-decoration:none}del{background:#fae3e1;text-decoration:none}
"""
KINDS = {".svg": "image/svg+xml"}
CELL = re.compile(r"(?<!\\)\|")
LARGEST_PICTURE = 4 * 1024 * 1024  # bytes


def page(report: Report, folder: Path) -> str:
    """The report as HTML; `folder` is the run's own, where its pictures lie."""
    title = html.escape(f"crashcart {report.info.task}: {report.info.target}")
    return framed(title, blocks(markdown(report), folder))


def blocks(text: str, folder: Path | None = None) -> str:
    """Markdown of our own as HTML; without a folder no picture is looked for."""
    return "\n".join(_blocks(text.split("\n"), folder or Path("/nowhere")))


def framed(title: str, body: str) -> str:
    """A whole page around HTML; the title is escaped already."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _blocks(lines: list[str], folder: Path) -> list[str]:
    """Our own Markdown, which is only headings, lists, one table shape, fences and pictures, as HTML blocks."""
    made: list[str] = []
    waiting: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            fence = line[: len(line) - len(line.lstrip("`"))]
            end = next((i for i in range(at + 1, len(lines)) if lines[i] == fence), len(lines))
            made.append(_fence(lines[at + 1 : end], line.endswith("diff")))
            at = end + 1
            continue
        kind = _kind(line)
        waiting.append(line)
        if at + 1 == len(lines) or _kind(lines[at + 1]) != kind:
            made.append(_group(kind, waiting, folder))
            waiting = []
        at += 1
    return [block for block in made if block]


def _kind(line: str) -> str:
    if line.startswith("|"):
        return "table"
    if line.lstrip().startswith("- "):
        return "list"
    if line[:1].isdigit() and ". " in line[:5]:
        return "numbers"
    return "" if not line else ("picture" if line.startswith("![") else "text")


def _group(kind: str, lines: list[str], folder: Path) -> str:
    match kind:
        case "table":
            rows = [[_words(cell.strip()) for cell in CELL.split(line[1:-1])] for line in lines]
            cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows[2:]]
            head = "".join(f"<th>{cell}</th>" for cell in rows[0])
            return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
        case "list":
            return "<ul>" + "".join(_item(line) for line in lines) + "</ul>"
        case "numbers":
            texts = [_words(line.partition(". ")[2]) for line in lines]
            return "<ol>" + "".join(f"<li>{text}</li>" for text in texts) + "</ol>"
        case "picture":
            return "".join(_picture(line, folder) for line in lines)
        case "text":
            return "".join(_text(line) for line in lines)
    return ""


def _item(line: str) -> str:
    text = line.lstrip()
    return f'<li style="margin-left:{len(line) - len(text)}em">{_words(text[2:])}</li>'


def _text(line: str) -> str:
    level = len(line) - len(line.lstrip("#"))
    if 0 < level < 4 and line[level : level + 1] == " ":
        return f"<h{level}>{_words(line[level + 1 :])}</h{level}>"
    if line.startswith("**") and line.endswith("**"):
        return f"<p><b>{_words(line[2:-2])}</b></p>"
    return f"<p>{_words(line)}</p>"


def _words(text: str) -> str:
    return html.escape(unmarked(text))


def _fence(lines: list[str], diff: bool) -> str:
    marks = {"+": "ins", "-": "del"}
    shown = []
    for line in lines:
        mark = marks.get(line[:1]) if diff else None
        shown.append(f"<{mark}>{html.escape(line)}</{mark}>" if mark else html.escape(line))
    return "<pre>" + "\n".join(shown) + "</pre>"


def _picture(line: str, folder: Path) -> str:
    title, name = line[2:].removesuffix(")").rsplit("](", 1)
    title = unmarked(title)
    path = folder / name
    try:
        if path.resolve().parent != folder.resolve() or path.stat().st_size > LARGEST_PICTURE:
            raise OSError("not a picture of this run")
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        return f"<p>({html.escape(title)}: {html.escape(error.strerror or str(error))})</p>"
    return f'<p><img alt="{html.escape(title)}" src="data:{KINDS.get(path.suffix, "image/png")};base64,{data}"></p>'
