"""Nothing is cut: every label, key and row of every form has the room that it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from textual.widgets import Static

from tests.tui.conftest import page, type_of_pilot, until
from tui.app import Suite
from tui.console import Terminal
from tui.frame import Frame
from tui.pages.form import FormPage
from tui.screens.section import SectionScreen
from tui.widgets.flag import Flag
from tui.widgets.keys import Keys, fitting
from tui.widgets.menu import Menu
from tui.widgets.pick import Pick
from tui.wizard import Wizard
from wizards import WIZARDS


def cut(pilot: type_of_pilot) -> Iterator[str]:
    """What does not fit where it stands on the screen on show."""
    screen = pilot.app.screen
    for widget in screen.walk_children():
        if not widget.is_on_screen or not widget.size.width:
            continue
        width = widget.size.width
        if isinstance(widget, Keys):
            pairs, gap = fitting(widget.pairs, width)
            needed = sum(cell_len(f"{key} {words}") + gap for key, words in pairs) - gap
            if needed > width - 2:
                yield f"keys need {needed} of {width - 2}: {pairs}"
        elif isinstance(widget, Static) and (widget.has_class("caption") or widget.id in ("steps", "columns")):
            text = str(widget.content)
            if widget.size.height == 1 and cell_len(text) > width:
                yield f"{text!r} has {width}"
        elif isinstance(widget, Flag) and cell_len(widget.label) + 6 > width * widget.size.height:
            yield f"{widget.label!r} has {width}"
        elif isinstance(widget, Pick):
            yield from (label for _, label, _ in widget.options if cell_len(label) + 6 > width)
        elif isinstance(widget, Menu):
            yield from (row.text for row in widget.rows if cell_len(row.text) + 3 > width)


async def test_no_row_of_the_lists_of_tasks_is_cut_at_80x24() -> None:
    app = Suite(WIZARDS, Terminal())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        assert list(cut(pilot)) == []
        app.push_screen(SectionScreen(app.section("backup"), WIZARDS))
        await until(pilot, lambda: page(pilot) == "SectionScreen")
        assert list(cut(pilot)) == []


@pytest.mark.soak  # half a minute of a core for pages that seldom change
@pytest.mark.parametrize("wizard", WIZARDS, ids=lambda wizard: wizard.task)
async def test_no_label_and_no_key_of_a_form_is_cut_at_80x24(wizard: Wizard) -> None:
    app = Suite(WIZARDS, Terminal())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        app.open_task(wizard.task)
        await until(pilot, lambda: isinstance(pilot.app.screen, Frame))
        frame = pilot.app.screen
        assert isinstance(frame, Frame)
        for at, form in enumerate(frame.pages):
            if isinstance(form, FormPage):
                frame.go(at)
                await pilot.pause()
                assert list(cut(pilot)) == []
