"""What a terminal would show of the text a switch sends: no escape sequences, no overwritten pager, no log lines."""

from __future__ import annotations

import re

from engines.vdx.line.patterns import Patterns, fits

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78cDEHMNOZ])")
UNFINISHED = re.compile(r"\x1b(?:\[[0-9;?]*|\][^\x07\x1b]*|[()])?$")


def plain(raw: str) -> str:
    """Text as the last overwriting left it: CR goes to the line's start, BS one back."""
    text = UNFINISHED.sub("", ESCAPES.sub("", raw))
    if "\r" not in text and "\x08" not in text and "\x07" not in text and "\x00" not in text:
        return text
    return "\n".join(_overwritten(line) for line in text.split("\n"))


def _overwritten(line: str) -> str:
    line = line.rstrip("\r").replace("\x07", "").replace("\x00", "")
    if "\r" not in line and "\x08" not in line:
        return line
    shown: list[str] = []
    at = 0
    for char in line:
        if char == "\r":
            at = 0
        elif char == "\x08":
            at = max(0, at - 1)
        else:
            shown[at : at + 1] = [char]
            at += 1
    whole = "".join(shown)
    return whole if whole.strip() else ""


def without_noise(text: str, patterns: Patterns) -> tuple[str, bool]:
    """The text without whole log lines that broke into it; whether the last thing said was one."""
    if not fits(patterns.noise, text):
        return text, False
    noise = re.compile(
        "|".join(f"(?:^\n?(?:{wording})$\n)" for wording in patterns.noise), re.IGNORECASE | re.MULTILINE
    )
    ends = [found.end() for found in noise.finditer(text)]
    return noise.sub("", text), bool(ends) and not text[ends[-1] :].strip()


def cut_more(raw: str, patterns: Patterns) -> str | None:
    """The raw text before a pager's prompt, where one is the last thing said but for log lines; else None."""
    lines = re.split(r"[\r\n]", ESCAPES.sub("", raw[-2000:]))
    end = len(lines)
    while end > 1 and (not lines[end - 1].strip() or fits(patterns.noise, lines[end - 1])):
        end -= 1
    logged = any(fits(patterns.noise, line) for line in lines[end:])
    last = lines[end - 1] if logged else lines[-1]
    found = fits(patterns.more, last)
    if found is None or last[found.end() :].strip():
        return None
    word = found[0].rstrip()
    return raw[: raw.rindex(word)] if word in raw else None
