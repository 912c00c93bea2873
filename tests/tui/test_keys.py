"""Every key that README and the help promise, on every widget that can have the focus."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual import events

from tests.tui.conftest import Desk, Suite, fill, page, shown, suite, to_review, type_of_pilot, until
from tui.console import Terminal
from tui.pages.form import FormPage
from tui.pages.review import ReviewPage
from tui.widgets.flag import Flag
from tui.widgets.line import Line
from tui.widgets.menu import Menu, Row
from wizards import WIZARDS

SIZE = (80, 24)


async def opened(pilot: type_of_pilot, form: str = "Files") -> FormPage:
    """A form of the copy task, its fields filled in."""
    await until(pilot, lambda: page(pilot) == "Home")
    await pilot.press("enter")
    await until(pilot, lambda: page(pilot) == "Files")
    frame = pilot.app.screen
    while page(pilot) != form:
        frame.go(frame.at + 1)  # type: ignore[attr-defined]  a Frame, by the wait above
        await pilot.pause()
    return frame.page  # type: ignore[attr-defined, no-any-return]  as above


@pytest.mark.parametrize(("key", "there"), [("down", "output"), ("tab", "source"), ("enter", "output")])
async def test_a_key_in_a_text_field_goes_where_it_says(desk: Desk, key: str, there: str) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        form = await opened(pilot)
        fill(pilot, source=str(desk.source.parent / "a"))
        await pilot.press(key)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        if there == "source":
            assert pilot.app.focused is form.entries["source"].control
        else:
            await until(pilot, lambda: form.entries[there].control.has_focus or "no such file" in shown(pilot))


async def test_down_leaves_a_text_field_and_typing_goes_into_the_next(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        form = await opened(pilot)
        await pilot.press(*"abc", "down", "x", "up", "end", "d")
        assert (form.entries["source"].raw, form.entries["output"].raw) == ("abcd", "x")


async def test_up_and_down_walk_over_check_boxes(tmp_path: Path) -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.open_task("vdx")  # type: ignore[attr-defined]  a Suite
        await until(pilot, lambda: page(pilot) == "Switch")
        pilot.app.screen.go(4)  # type: ignore[attr-defined]  the frame's fifth page
        await pilot.pause()
        assert page(pilot) == "Agreed"
        await pilot.press("down", "down", "space")
        boxes = list(pilot.app.screen.page.query(Flag))  # type: ignore[attr-defined]
        assert [at for at, box in enumerate(boxes) if box.value] == [2]
        await pilot.press("up", "space", "shift+tab", "space")
        assert [at for at, box in enumerate(boxes) if box.value] == [0, 1, 2]


async def test_up_and_down_walk_over_every_field_of_every_shape(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        form = await opened(pilot, "Manner")
        seen = [type(pilot.app.focused).__name__]
        for _ in range(5):
            await pilot.press("down")
            seen.append(type(pilot.app.focused).__name__)
        assert seen == ["Pick", "Pick", "Line", "Line", "Flag", "Pick"]
        await pilot.press("up", "up", "up", "up")
        assert pilot.app.focused is form.entries["count"].control


async def test_typing_replaces_what_was_filled_in_and_end_adds_to_it(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.open_task("copy", {"source": "/old/path", "output": "/other"})  # type: ignore[attr-defined]
        await until(pilot, lambda: page(pilot) == "Files")
        form = pilot.app.screen.page  # type: ignore[attr-defined]
        await pilot.press(*"/new", "down", "end", *"/x")
        assert (form.entries["source"].raw, form.entries["output"].raw) == ("/new", "/other/x")


async def test_tab_completes_lists_pages_and_says_what_it_does_not_find(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"disk{number:02}.img").touch()
    async with suite().run_test(size=SIZE) as pilot:
        form = await opened(pilot)
        fill(pilot, source=f"{tmp_path}/d")
        await pilot.press("tab")
        await until(pilot, lambda: "1-8 of 20" in shown(pilot))
        assert form.entries["source"].raw == f"{tmp_path}/disk"
        await pilot.press("tab")
        await until(pilot, lambda: "9-16 of 20" in shown(pilot))
        assert pilot.app.focused is form.entries["source"].control
        fill(pilot, source=f"{tmp_path}/nothing")
        await pilot.press("tab")
        await until(pilot, lambda: "no such name" in shown(pilot))


async def test_a_field_says_what_is_wrong_when_it_is_left(tmp_path: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press(*"/nowhere", "down")
        await until(pilot, lambda: "! no such file" in shown(pilot))
        await pilot.press(*"/no/where", "up")
        await until(pilot, lambda: "! no such folder: /no" in shown(pilot))


async def test_a_held_key_never_starts_a_run(desk: Desk) -> None:
    from engines.job import runs

    desk.output.unlink()
    async with suite().run_test(size=SIZE) as pilot:
        form = await opened(pilot)
        fill(pilot, source=str(desk.source), output=str(desk.output))
        review = next(one for one in form.screen.pages if isinstance(one, ReviewPage))  # type: ignore[attr-defined]
        quick, review.held = review.held, 60.0  # so that a busy machine does not look like a key let go of
        after = 0
        while after < 40:
            pilot.app.post_message(events.Key("ctrl+n", None))
            await asyncio.sleep(0.05)  # a keyboard's repeat
            after += review.draft.plan is not None
        assert page(pilot) == "Review"
        assert not runs.every()
        review.held = quick
        await until(pilot, lambda: "^n Start" in shown(pilot))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "Result")


async def test_a_stop_is_asked_about_and_the_first_answer_is_to_go_on(desk: Desk) -> None:
    from engines.job import runs

    desk.gate("wait").touch()
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, count="100", hold=str(desk.hold))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await pilot.press(*"b.txt", "enter")
        await until(pilot, lambda: "/100 lines" in shown(pilot))
        await pilot.press("ctrl+x")
        await until(pilot, lambda: page(pilot) == "Choosing")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Run")
        assert runs.every()[0].status() == "running"
        await pilot.press("ctrl+x", "down", "enter")
        await until(pilot, lambda: "[!] Stopped" in shown(pilot))


async def test_an_enter_that_was_typed_before_the_suite_had_the_terminal_is_an_enter() -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("ctrl+j")
        await until(pilot, lambda: page(pilot) == "Files")


async def test_letters_go_to_a_task_and_not_to_the_state_of_a_run() -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        menu = pilot.app.screen.query_one(Menu)
        menu.fill([Row("copy", "task:copy"), Row("running  web1", "run:1", named=False), *menu.rows[-3:]])
        await pilot.press("r")
        assert menu.row
        assert menu.row.id == "rehearse"


async def test_xon_is_no_key(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+q", "ctrl+s")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert page(pilot) == "Files"
        assert pilot.app.is_running


async def test_the_palette_opens_nothing_that_a_screen_must_fill_in() -> None:
    app = Suite(WIZARDS, Terminal())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        titles = {command.title for command in app.get_system_commands(app.screen)}
    assert "Open virtio" in titles
    assert not titles & {"Open backup-get", "Open backup-put"}


async def test_a_new_passphrase_is_typed_twice(tmp_path: Path) -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.open_task("backup-init", {"repo": str(tmp_path / "repo"), "cipher": "aes-256-gcm"})  # type: ignore[attr-defined]
        await until(pilot, lambda: page(pilot) == "Repository")
        fill(pilot, passphrase="correct horse")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "Typing")
        await pilot.press(*"correct hose", "enter")
        await until(pilot, lambda: "not typed alike twice" in shown(pilot))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "Typing")
        await pilot.press(*"correct horse", "enter")
        await until(pilot, lambda: page(pilot) == "Lock")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "Review")


@pytest.mark.parametrize(
    ("several", "pasted", "taken", "said"),
    [
        (False, "/a b.txt\r\n", "/a b.txt", ""),
        (False, "\n  /a.txt \n/b.txt\n", "/a.txt", "the first of 2 pasted lines was taken"),
        (False, "\n \n", "", ""),
        (True, "/a.txt\n/b,c.txt\n", '/a.txt, "/b,c.txt"', ""),
        (True, "/a.txt, /b.txt\n", "/a.txt, /b.txt", ""),
    ],
)
async def test_pasted_lines_start_nothing_and_none_is_lost_unsaid(
    several: bool, pasted: str, taken: str, said: str
) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        form = await opened(pilot)
        line = form.entries["source"].control
        assert isinstance(line, Line)
        line.several = several
        pilot.app.post_message(events.Paste(pasted))
        await until(pilot, lambda: said in shown(pilot))
        await pilot.press("x")
        assert line.value == f"{taken}x"
        assert line.has_focus
