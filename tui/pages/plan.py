"""A plan as widgets: everything that will change, to the byte, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engines.job.contract import BytesChange, Change, Choice, CommandChange, Plan, TextChange
from engines.job.diff import unified
from engines.job.report import one_line
from tui.story import amount
from tui.widgets.pick import Pick


class Decision(Pick):
    """A Pick that sets `param` of the job."""

    def __init__(self, param: str, options: Sequence[tuple[Any, str, str]], chosen: Any) -> None:
        super().__init__(options, chosen)
        self.param = param


def widgets(plan: Plan) -> Iterator[Widget]:
    """Warnings, facts, choices, steps, changes and the way back, in that order."""
    if plan.warnings:
        yield Static(Content("\n").join(Content(f"! {one_line(text)}") for text in plan.warnings), classes="warnings")
    if plan.facts:
        yield Vertical(*(fact(name, value) for name, value in plan.facts), classes="facts part")
    for choice in plan.choices:
        yield chosen(choice)
    yield Static(Content("What will change"), classes="title")
    if not plan.changes:
        yield Static(Content("Nothing that exists is changed."), classes="part")
    for change in plan.changes:
        yield Static(changed(change), classes="part")
    yield Static(Content("Steps"), classes="title")
    yield Static(steps(plan), classes="part")
    yield Static(Content("The way back"), classes="title")
    yield Static(Content(one_line(plan.undo) or "This task says nothing about being taken back."), classes="part")


def fact(name: str, value: str) -> Widget:
    """A name and its value side by side."""
    return Horizontal(Static(Content(one_line(name)), classes="name"), Static(Content(one_line(value))), classes="fact")


def chosen(choice: Choice) -> Widget:
    """A decision left to the technician."""
    options = [(option.value, one_line(option.label), one_line(option.why)) for option in choice.options]
    pick = Decision(choice.param, options, choice.chosen)
    return Vertical(Static(Content(one_line(choice.question)), classes="title"), pick, classes="choice part")


def steps(plan: Plan) -> Content:
    """The steps by number, and which of them cannot be stopped."""
    lines = []
    for at, step in enumerate(plan.steps, 1):
        lines.append(f"{at:2}. {one_line(step.title)}")
        if step.no_stop:
            lines.append(f"    cannot be stopped: {one_line(step.no_stop)}")
    return Content("\n".join(lines))


def changed(change: Change) -> Content:
    """One change: a diff, sizes, or a command with its answer."""
    match change:
        case TextChange():
            return Content("\n").join(_diff_line(line) for line in unified(change).splitlines())
        case BytesChange():
            before = "does not exist" if change.before_size is None else size(change.before_size)
            after = "is removed" if change.after_size is None else size(change.after_size)
            target = Content.styled(one_line(change.target), "bold")
            return Content.assemble(target, f"\n  {one_line(change.summary)}\n  now: {before}   then: {after}")
        case CommandChange():
            expects = f"\n  expected answer: {one_line(change.expects)}" if change.expects else ""
            where = Content.styled(one_line(change.where), "bold")
            return Content.assemble(where, f"\n  > {one_line(change.command)}{expects}")


def _diff_line(line: str) -> Content:
    text = "".join(char if char == "\t" or char.isprintable() else repr(char)[1:-1] for char in line).expandtabs(8)
    style = {"-": "$error", "+": "$success", "@": "$primary"}.get(line[:1], "")
    return Content.styled(text, style) if style else Content(text)


def size(count: int) -> str:
    """`1474560 bytes (1440 KiB)`."""
    words = amount(count, count, "bytes").partition("/")[2]
    return f"{count} bytes" + ("" if words.endswith("bytes") else f" ({words})")
