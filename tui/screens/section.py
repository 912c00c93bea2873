"""The tasks of one section, and the rows by which the home screen lists sections and tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from tui.screens.home import Home
from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.menu import Menu, Row
from tui.wizard import Section, Wizard


def listed(wizards: Iterable[Wizard]) -> list[Row]:
    """A row for each task, and one for each section where its first task stands."""
    rows: dict[str, Row] = {}
    for wizard in wizards:
        if section := wizard.under:
            rows.setdefault(section.name, _row(section.name, section.title, f"section:{section.name}", section.why))
        else:
            rows[wizard.task] = _row(wizard.task, wizard.title, f"task:{wizard.task}", wizard.why)
    return list(rows.values())


def within(section: Section, wizards: Iterable[Wizard]) -> list[Row]:
    """The section's doors, then its tasks."""
    doors = [_row(door.name, door.title, f"door:{section.name}/{door.name}", door.why) for door in section.doors]
    named = [wizard for wizard in wizards if wizard.under == section and wizard.name]
    return doors + [_row(wizard.name, wizard.title, f"task:{wizard.task}", wizard.why) for wizard in named]


def _row(name: str, title: str, id: str, why: str) -> Row:
    return Row(f"{name:<15} {title}", id, why)


class SectionScreen(LeanScreen[None]):
    """A section opened."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "dismiss(None)", "Back")]

    def __init__(self, section: Section, wizards: tuple[Wizard, ...]) -> None:
        super().__init__()
        self.section = section
        self.rows = within(section, wizards)

    def compose(self) -> ComposeResult:
        yield Static(Content(f"crashcart | {self.section.name} | {self.section.title}"), id="title")
        yield Menu([Row(""), *self.rows], id="home")
        yield Static(id="why")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(Menu).focus()

    @on(Menu.Moved)
    def _moved(self, event: Menu.Moved) -> None:
        self.query_one("#why", Static).update(Content(event.row.why), layout=False)

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        self.post_message(Home.Picked(event.id))
