"""A text change as one unified diff."""

from __future__ import annotations

import re

from engines.job.contract import TextChange


def unified(change: TextChange) -> str:
    """The diff; a missing side is /dev/null, and a last line without its newline is said as diff(1) says it."""
    import difflib  # most runs change no text

    before, after = change.before or "", change.after or ""
    name = change.target.lstrip("/")
    lines = difflib.unified_diff(
        _lines(before),
        _lines(after),
        "/dev/null" if change.before is None else f"a/{name}",
        "/dev/null" if change.after is None else f"b/{name}",
    )
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines as diff(1) counts them: str.splitlines would also break at form feeds and at U+0085."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
