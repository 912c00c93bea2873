"""A plan as widgets: everything that will change, to the byte, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engines.job import units
from engines.job.contract import BytesChange, Change, Choice, CommandChange, Plan, TextChange
from engines.job.diff import unified
from engines.job.params import Field
from engines.job.units import one_line
from tui.fault import in_labels
from tui.widgets.diff import Diff
from tui.widgets.pick import Pick

COMPARED = 2  # facts above the warnings: an engine puts first what must fit together, such as board and ROM


class Decision(Pick):
    """A Pick that sets `param` of the job."""

    def __init__(self, param: str, options: Sequence[tuple[Any, str, str]], chosen: Any) -> None:
        super().__init__(options, chosen)
        self.param = param


def widgets(plan: Plan) -> Iterator[Widget]:
    """The facts to compare, warnings, the other facts, choices, changes, steps and the way back, in that order."""
    if plan.facts:
        yield Vertical(*(fact(name, value) for name, value in plan.facts[:COMPARED]), classes="facts part")
    if plan.warnings:
        yield Vertical(*(warning(text) for text in plan.warnings), classes="warnings part")
    if plan.facts[COMPARED:]:
        yield Vertical(*(fact(name, value) for name, value in plan.facts[COMPARED:]), classes="facts part")
    for choice in plan.choices:
        yield chosen(choice)
    yield Static(Content("What will change"), classes="title")
    if not plan.changes:
        yield Static(Content("Nothing that exists is changed."), classes="part")
    for change in plan.changes:
        yield changed(change)
    yield Static(Content("Steps"), classes="title")
    yield Vertical(*steps(plan), classes="part")
    yield Static(Content("The way back"), classes="title")
    yield Static(Content(one_line(plan.undo) or "This task says nothing about being taken back."), classes="part")


def warning(text: str) -> Widget:
    """A warning behind its mark."""
    return Horizontal(Static(Content("!"), classes="mark"), Static(Content(one_line(text))), classes="fact")


def fact(name: str, value: str) -> Widget:
    """A name and its value side by side."""
    return Horizontal(Static(Content(one_line(name)), classes="name"), Static(Content(one_line(value))), classes="fact")


def chosen(choice: Choice) -> Widget:
    """A decision left to the technician."""
    options = [(option.value, one_line(option.label), one_line(option.why)) for option in choice.options]
    pick = Decision(choice.param, options, choice.chosen)
    return Vertical(Static(Content(one_line(choice.question)), classes="title"), pick, classes="choice part")


def steps(plan: Plan) -> Iterator[Widget]:
    """The steps by number, and which of them cannot be stopped."""
    for at, step in enumerate(plan.steps, 1):
        held = f"\ncannot be stopped: {one_line(step.no_stop)}" if step.no_stop else ""
        words = Static(Content(one_line(step.title) + held))
        yield Horizontal(Static(Content(f"{at}."), classes="number"), words, classes="fact")


def changed(change: Change) -> Widget:
    """One change: a diff, sizes, or a command with its answer."""
    match change:
        case TextChange():
            return Diff(unified(change), classes="part")
        case BytesChange():
            return _told(change.target, "\n".join([one_line(change.summary), *_sizes(change)]))
        case CommandChange():
            expects = f"\nexpected answer: {one_line(change.expects)}" if change.expects else ""
            return _told(change.where, f"> {one_line(change.command)}{expects}")


def _sizes(change: BytesChange) -> Iterator[str]:
    """What is known of the sizes; what is removed says so in its summary."""
    if change.before_size is not None:
        yield f"now: {size(change.before_size)}"
    elif change.after_size is not None:
        yield "now: does not exist"
    if change.after_size is not None:
        yield f"then: {size(change.after_size)}"


def _told(heading: str, words: str) -> Widget:
    return Vertical(
        Static(Content(one_line(heading)), classes="target"), Static(Content(words), classes="indented"), classes="part"
    )


def size(count: int) -> str:
    """`1474560 bytes (1.4 MiB)`."""
    return f"{count} bytes" + (f" ({units.size(count)})" if count >= 1024 else "")


def labelled(plan: Plan, fields: Sequence[Field]) -> Plan:
    """The same plan, its words naming options as the form does; what it does and its digest stay."""
    return msgspec.structs.replace(
        plan,
        facts=tuple((name, in_labels(value, fields)) for name, value in plan.facts),
        warnings=tuple(in_labels(text, fields) for text in plan.warnings),
        undo=in_labels(plan.undo, fields),
    )


def briefly(warnings: tuple[str, ...]) -> list[str]:
    """The first warning, and how many more the review has: the line to type the word on must stay in sight."""
    more = [f"! and {len(warnings) - 1} more on the review"] if len(warnings) > 1 else []
    return [f"! {one_line(text)}" for text in warnings[:1]] + more
