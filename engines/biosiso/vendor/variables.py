"""A batch's variables, as far as its text alone settles them: what hangs on a condition or a jump stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST_LINE = 2000  # characters of a line with its variables filled in; DOS takes 126
SET = re.compile(r"set\s+(?P<name>[A-Za-z_]\w{0,30})=(?P<value>[^|<>&]{0,200})$", re.IGNORECASE)
SETS = re.compile(r"\bset\b[^=]{0,40}?\b(?P<name>[A-Za-z_]\w{0,30})[\s\"]{0,3}=", re.IGNORECASE)
"""A SET in whatever form, asked for by /P, in quotes, or behind another command."""
VARIABLE = re.compile(r"%([A-Za-z_]\w{0,30})%")
TURNS = re.compile(
    r"(?!(?:rem|echo)\b|::)(?::|.*\bcall\b|(?:shift|else|then|endif|endfor)\b|.*\(\s*$|\))", re.IGNORECASE
)
"""Where it may have come from elsewhere, or left its variables to another script: what is behind a GOTO is reached from
the line before it, or by a label."""
CONDITION = re.compile(
    r"if\s+(?P<what>(?:/i\s+)?(?:not\s+)?(?:/i\s+)?(?:exist\s+(?:\"[^\"]*\"|\S+)|defined\s+\S+|errorlevel\s*=*\s*\d+"
    r"|(?:\"[^\"]*\"|[^\s\"]+?)\s*(?:==|\b(?:equ|neq|lss|leq|gtr|geq)\b)\s*(?:\"[^\"]*\"|\S+)))\s*(?P<then>(?<=[\s\"])\S.*|\(.*)$",
    re.IGNORECASE,
)
LOOP = re.compile(r"for\s+%{1,2}\w\s+in\s+\([^)]{0,200}\)\s+do\s+(?P<then>\S.*)$", re.IGNORECASE)
THROUGH = re.compile(
    r"(?:lh|loadhigh|(?:command|cmd)(?:\.(?:com|exe))?\s+/c|start(?:\s+/\w+){0,4})\s+(?P<then>\S.*)$", re.IGNORECASE
)
"""What starts another program and adds nothing to it."""
SHELL = re.compile(r"(?:command|cmd|start)\b", re.IGNORECASE)
"""Of these, what comes back where a batch is started without CALL."""
OWN = re.compile(r"%~(?:dp0\\?|([1-9]))", re.IGNORECASE)
"""The batch's own folder, and an argument that it takes the quotes from."""
REMARK = re.compile(r"(?::|#|rem\b)", re.IGNORECASE)


def command(line: str) -> str:
    """The command of a line, behind @ and any number of IF conditions, FOR loops and programs that start another."""
    line = line.lstrip("@ \t")[:LONGEST_LINE]
    while found := CONDITION.match(line) or LOOP.match(line) or THROUGH.match(line):
        line = found["then"].lstrip("@ \t(")
    return line


class Variables:
    """What each variable holds while a script is read from its first line to its last.

    Known are those to which every SET of the script gives one value, under no condition, from there to the next
    label or jump.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        values: dict[str, set[str]] = {}
        doubted: set[str] = set()
        for line in lines:
            plain = line.lstrip("@ \t")
            if found := SET.match(plain):
                values.setdefault(found["name"].lower(), set()).add(found["value"].strip())
            elif not REMARK.match(plain):
                doubted |= {found["name"].lower() for found in SETS.finditer(plain)}
        self._settled = {name for name, given in values.items() if len(given) == 1} - doubted
        self._now: dict[str, str] = {}

    def whole(self, line: str) -> str:
        """The next line with the variables that are known there."""
        return VARIABLE.sub(lambda found: self._now.get(found[1].lower(), found[0]), line[:LONGEST_LINE])[:LONGEST_LINE]

    def filled(self, line: str) -> str:
        """The command of the next line, with the variables that are known there."""
        filled = VARIABLE.sub(lambda found: self._now.get(found[1].lower(), found[0]), command(line))[:LONGEST_LINE]
        if TURNS.match(line.lstrip("@ \t")):
            self._now.clear()
        elif (found := SET.match(filled)) and found["name"].lower() in self._settled:
            self._now[found["name"].lower()] = found["value"].strip()
        return filled
