"""The steps of a DOS batch, its blocks taken apart: what runs, what hangs on a condition, where a jump leads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from engines.biosiso.vendor.variables import CONDITION, LOOP, REMARK, SHELL, THROUGH

ELSE = re.compile(r"\)\s*else\b|^else\b", re.IGNORECASE)
IFF = re.compile(r"(?P<more>else)?iff\s+(?P<what>.+?)\s+then\b", re.IGNORECASE)
"""How 4DOS begins a block."""
SAYS = re.compile(r"(?:echo|set|rem)\b", re.IGNORECASE)
LABEL = re.compile(r":\s*(?P<name>[^\s:+=,;|<>&]+)")
JOINED = re.compile(r"(?P<first>(?:[^&|\"]|\"[^\"]*\")*?)(?<=[^&|\s>])\s*(?P<by>&&|\|\||&|\|)\s*(?P<then>\S.*)$")
"""One command behind another, or fed by it; 2>&1 joins none."""
MOST = 20_000  # steps of a batch
DEEPEST = 40  # conditions and blocks in one another

Test = Literal["fails", "works", "other"]
AFTER: dict[str, Test] = {"&&": "works", "||": "fails"}


class Step(msgspec.Struct):
    """A command and the line it stands on; of an `if`, its condition and the step where it goes on if that is false."""

    op: Literal["do", "if", "jump"]
    line: int
    text: str = ""
    test: Test = "other"
    to: int = -1
    returns: bool = False


class Flow(msgspec.Struct, frozen=True):
    """A batch's steps, and the step that each label (lower case) stands before."""

    steps: tuple[Step, ...] = ()
    labels: dict[str, int] = {}


class _Block(msgspec.Struct):
    """An open condition: the `if` whose other side is still to come, and the jumps to its end."""

    opened: int = -1
    ends: list[int] = []
    single: bool = False


class Reader:
    """Takes a batch line by line, its variables already filled in."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._labels: dict[str, int] = {}
        self._open: list[_Block] = []
        self._line = self._joined = 0

    def take(self, number: int, line: str) -> list[tuple[int, str]]:
        """The commands that the next line may run, each by its step and without what stands around it."""
        self._line, self._joined, before = number, 0, len(self._steps)
        line = line.lstrip("@ \t")
        if found := LABEL.match(line):
            self._labels.setdefault(found["name"].lower(), before)
        if not line or REMARK.match(line) or before > MOST:
            return []
        for at, part in enumerate(_sides(line)):
            if at:
                self._other_side()
            self._statement(part)
        return [(at, step.text) for at, step in enumerate(self._steps[before:], before) if step.op == "do"]

    def flow(self) -> Flow:
        """All that was read."""
        while self._open:
            self._close()
        return Flow(tuple(self._steps), self._labels)

    def _statement(self, text: str, returns: bool = False) -> None:
        text = text.strip().lstrip("@ \t")
        while text.startswith(")") and self._open:
            self._close()
            text = text[1:].lstrip()
        if (found := IFF.match(text)) and len(self._open) < DEEPEST:
            if found["more"]:
                self._other_side()
            self._begin(found["what"], text[found.end() :], single=False, more=bool(found["more"]))
        elif re.match(r"endiff\b", text, re.IGNORECASE):
            self._close()
        elif len(self._open) < DEEPEST and (found := CONDITION.match(text)):
            self._begin(found["what"], found["then"], single=True)
        elif len(self._open) < DEEPEST and (found := LOOP.match(text)):
            self._block(found["then"], _Block(ends=[], single=True))
        elif text.startswith("(") and len(self._open) < DEEPEST:
            self._block(text, _Block(ends=[]))
        elif text:
            self._command(text, returns)

    def _begin(self, what: str, then: str, *, single: bool, more: bool = False) -> None:
        ends = self._open.pop().ends if more and self._open else []
        self._steps.append(Step("if", self._line, test=_test(what)))
        block = _Block(len(self._steps) - 1, ends, single)
        if single:
            self._block(then, block)
        else:
            self._open.append(block)
            self._statement(then)

    def _block(self, then: str, block: _Block) -> None:
        """What a condition or a loop runs: all up to the bracket that closes it, or one command."""
        then = then.lstrip("@ \t")
        block.single = not then.startswith("(") and block.single
        self._open.append(block)
        self._statement(then.removeprefix("("))

    def _command(self, text: str, returns: bool) -> None:
        if (found := JOINED.match(text)) and self._joined < DEEPEST and len(self._open) < DEEPEST:
            self._joined += 1
            self._first(found["first"], returns)
            if found["by"] in AFTER:
                self._steps.append(Step("if", self._line, test=AFTER[found["by"]]))
                self._open.append(_Block(len(self._steps) - 1, [], single=True))
            self._statement(found["then"], returns)
        else:
            self._last(text, returns)

    def _last(self, text: str, returns: bool) -> None:
        shut = 0
        while text.endswith(")") and text.count(")") > text.count("("):
            text, shut = text[:-1].rstrip(), shut + 1
        self._first(text, returns)
        self._settle()
        for _ in range(shut):
            self._close()

    def _first(self, text: str, returns: bool) -> None:
        while found := THROUGH.match(text):
            text, returns = found["then"].lstrip("@ \t("), returns or bool(SHELL.match(text))
        if text:
            self._steps.append(Step("do", self._line, text, returns=returns))

    def _close(self) -> None:
        if self._open:
            self._end(self._open.pop())
            self._settle()

    def _settle(self) -> None:
        while self._open and self._open[-1].single:
            self._end(self._open.pop())

    def _end(self, block: _Block) -> None:
        for step in (block.opened, *block.ends):
            if step >= 0:
                self._steps[step].to = len(self._steps)

    def _other_side(self) -> None:
        """ELSE: the side before it jumps over what is to come."""
        if not self._open:
            return
        block = self._open.pop()
        self._steps.append(Step("jump", self._line))
        block.ends.append(len(self._steps) - 1)
        if block.opened >= 0:
            self._steps[block.opened].to = len(self._steps)
        self._open.append(_Block(ends=block.ends, single=True))


def _sides(line: str) -> Iterable[str]:
    """A line's text each side of ELSE, but where that stands in a text which no condition ends."""
    start, says = 0, SAYS.match(line)
    for found in ELSE.finditer(line):
        before = line[start : found.start() + 1]
        if says and before.count(")") <= before.count("("):
            break
        yield line[start : found.start()]
        start, says = found.end(), SAYS.match(line[found.end() :].lstrip())
    yield line[start:]


def _test(what: str) -> Test:
    """Whether a condition is that the last program failed, that it worked, or another."""
    plain = re.sub(r"[\"'\[\]{}\s]", "", what.lower())
    turned = plain.startswith("not")
    plain = plain.removeprefix("/i").removeprefix("not").removeprefix("/i")
    if found := re.fullmatch(r"errorlevel=*(\d+)", plain):
        fails = int(found[1]) > 0
    elif found := re.fullmatch(r"%errorlevel%(==|equ|neq|gtr|geq)(\d+)", plain):
        zero = int(found[2]) == 0
        fails = {"==": not zero, "equ": not zero, "neq": zero, "gtr": True, "geq": not zero}[found[1]]
        if found[1] == "neq" and not zero:
            return "other"
    else:
        return "other"
    return "fails" if fails != turned else "works"
