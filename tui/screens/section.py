"""The tasks of one section, and the rows by which the home screen lists sections and tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.screens.home import Home
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen
from tui.wizard import Section, Wizard


def listed(wizards: Iterable[Wizard]) -> list[Row]:
    """A row for each task, and one for each section where its first task stands."""
    rows: dict[str, tuple[str, str, str, str]] = {}
    for wizard in wizards:
        if section := wizard.under:
            rows.setdefault(section.name, (section.name, section.title, f"section:{section.name}", section.why))
        else:
            rows[wizard.task] = (wizard.task, wizard.title, f"task:{wizard.task}", wizard.why)
    return numbered(rows.values())


def within(section: Section, wizards: Iterable[Wizard]) -> list[Row]:
    """The section's doors and its tasks."""
    first, last = (
        [(door.name, door.title, f"door:{section.name}/{door.name}", door.why) for door in doors]
        for doors in (section.doors, section.after)
    )
    named = [wizard for wizard in wizards if wizard.under == section and wizard.name]
    tasks = [(wizard.name, wizard.title, f"task:{wizard.task}", wizard.why) for wizard in named]
    return numbered([*first, *tasks, *last])


def commanded(wizards: Iterable[Wizard]) -> dict[str, str]:
    """By the words of a command, the row that does the same: `backup init` -> `"New repository" under backup`."""
    found = {}
    for wizard in wizards:
        words = wizard.task.replace("-key-", " key ").replace("-", " ", 1)
        if wizard.under and wizard.name:
            found[words if " " in words else f"{words} run"] = f'"{wizard.name}" under {wizard.under.name}'
    return found


def numbered(rows: Iterable[tuple[str, str, str, str]]) -> list[Row]:
    """Rows of (name, title, id, why) that a digit opens, as far as digits go."""
    found = []
    for at, (name, title, id, why) in enumerate(rows, 1):
        digit = str(at) if at < 10 else ""
        found.append(Row(f"{name:<14} {digit:1} {title}", id, why, digit))
    return found


class SectionScreen(MenuScreen[None]):
    """A section opened."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "dismiss(None)", "Back")]

    def __init__(self, section: Section, wizards: tuple[Wizard, ...]) -> None:
        super().__init__()
        self.section = section
        self.rows = within(section, wizards)

    def compose(self) -> ComposeResult:
        yield from self.composed(
            f"crashcart | {self.section.name} | {self.section.title}",
            Menu([Row(""), *self.rows], id="home", jumps=True),
        )

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        self.post_message(Home.Picked(event.id))
