"""Nothing is cut: every title, label, key and row has the room that it needs, at every size."""

from __future__ import annotations

from contextlib import suppress

import pytest

from engines.backup.commands.listing import PointRow
from engines.job.params import fields
from tests.tui.conftest import Desk, Suite, page, shown, start, suite, to_review, type_of_pilot, until
from tests.tui.fits import cut
from tui.browse.access import Access
from tui.browse.calendar import disks
from tui.browse.disks import Disks, Points
from tui.console import Terminal
from tui.frame import Frame
from tui.pages.form import FormPage
from tui.screens.history import History
from tui.screens.section import SectionScreen
from tui.widgets.asking import Choosing, Typing
from tui.widgets.menu import Row
from tui.wizard import Wizard
from wizards import WIZARDS

SIZE = (80, 24)
OTHERS = ((60, 20), (132, 43), SIZE)
TREE = "web1.customer-4711.example.net/disk0"


async def fits(pilot: type_of_pilot) -> None:
    """Nothing on the page on show is cut, whatever becomes of the window."""
    await whole(pilot)
    for size in OTHERS:
        await pilot.resize_terminal(*size)
        await whole(pilot)


async def whole(pilot: type_of_pilot) -> None:
    """Nothing is cut once the screen has come to rest."""
    await pilot.pause()
    if list(cut(pilot)):
        with suppress(AssertionError):
            await until(pilot, lambda: not list(cut(pilot)))
    assert list(cut(pilot)) == [], shown(pilot)


def moments() -> list[PointRow]:
    """Points with the longest that each column holds."""
    more = {"size": 20 << 40, "changed": 19 << 40, "stored": 1023 << 30, "verified": "20261128T040000Z"}
    return [
        PointRow(point=f"{TREE}@20261130T020000Z", consistency="crash-consistent", **more),  # type: ignore[arg-type]
        PointRow(point=f"{TREE}@20261129T020000Z", damaged=12345, consistency="quiesced", **more),  # type: ignore[arg-type]
        PointRow(point="mail/disk1@20261130T021500Z", trouble="its head cannot be read", **more),  # type: ignore[arg-type]
    ]


async def test_no_list_cuts_a_key_or_a_row() -> None:
    app = Suite(WIZARDS, Terminal())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await fits(pilot)
        found = disks(moments())
        for screen in (
            *(SectionScreen(app.section(name), WIZARDS) for name in ("backup", "Fleet")),
            Disks(Access("/srv/backup/of/the/whole/house/and/its/cellar/repository/number-one"), found),
            *(Points(Access("/srv/repo"), disk) for disk in found),
            History(),
            Choosing("Restore", "You see every change before anything is written.", [Row("Stay", "a")]),
            Typing("Repository", "Its folder, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX:"),
        ):
            app.push_screen(screen)
            await until(pilot, lambda screen=screen: app.screen is screen and screen.is_mounted)  # type: ignore[misc]
            await fits(pilot)
            app.pop_screen()


async def test_no_page_of_a_task_cuts_a_key_or_a_label(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk)
        await fits(pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await fits(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Review")
        await start(pilot)
        await until(pilot, lambda: "Done, with warnings" in shown(pilot))
        await fits(pilot)
        for key, there in (("v", "Text"), ("question_mark", "Text"), ("escape", "Text"), ("escape", "Result")):
            await pilot.press(key)
            await until(pilot, lambda there=there: page(pilot) == there)  # type: ignore[misc]
            await fits(pilot)
        await pilot.press("u")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await fits(pilot)


async def test_what_was_cut_comes_back_when_the_window_grows_and_goes_when_it_shrinks() -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.open_task("virtio")  # type: ignore[attr-defined]  a Suite
        await until(pilot, lambda: isinstance(pilot.app.screen, Frame))
        for width in (60, 80, 66):
            await pilot.resize_terminal(width, 20)
            await whole(pilot)
            await until(pilot, lambda: shown(pilot).rstrip().endswith("^g Help"))


@pytest.mark.parametrize("wizard", WIZARDS, ids=lambda wizard: wizard.task)
def test_a_task_says_what_it_is_and_asks_in_lines_that_are_there(wizard: Wizard) -> None:
    from textwrap import wrap

    assert len(f"crashcart | {wizard.engine.title}") <= 78
    for form in wizard.forms:
        assert len(wrap(form.why, 76)) == 1, form.why
        long = {field.name: field.why for field in fields(wizard.engine.params) if field.name in form.names}
        assert {name: why for name, why in long.items() if len(wrap(why, 78)) > 2} == {}


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
                await whole(pilot)
