"""The failover wizards by keyboard: the live SYN timeline and the table, the lights of a watch."""

from __future__ import annotations

import re
from collections.abc import Callable

from engines.job import journal, runs
from engines.job.contract import Finished, Measured
from tests.engines.failover.stage import open_stage
from tests.tui.conftest import Suite, fill, page, shown, type_of_pilot, until
from tui.console import Terminal
from tui.frame import Frame
from tui.pages.form import FormPage
from tui.widgets.pick import Pick
from wizards import WIZARDS

SIZE = (80, 24)


def suite() -> Suite:
    return Suite(WIZARDS, Terminal())


def pick(pilot: type_of_pilot, name: str, value: str) -> None:
    """Take an option by name; the keys of a Pick have tests of their own."""
    frame = next(screen for screen in pilot.app.screen_stack if isinstance(screen, Frame))
    for form in frame.pages:
        if isinstance(form, FormPage) and name in form.entries:
            control = form.entries[name].control
            assert isinstance(control, Pick)
            control.take(value)


async def opened(pilot: type_of_pilot, task: str, first: str) -> None:
    """From the home screen to a wizard's first page."""
    await until(pilot, lambda: page(pilot) == "Home")
    for _ in range([wizard.task for wizard in WIZARDS].index(task)):
        await pilot.press("down")
    await pilot.press("enter")
    await until(pilot, lambda: page(pilot) == first)


async def test_the_lab_shows_each_syn_and_then_the_table() -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot, "failover", "Visitors")
        fill(pilot, clients="python, curl", faults="drop, rst", runs="1", cap="20")
        pick(pilot, "ladder", "short")
        await pilot.press("ctrl+n", "ctrl+n", "ctrl+n")
        await until(pilot, lambda: "^n Start" in shown(pilot))
        assert "SYN ladder short" in shown(pilot)
        await pilot.press("ctrl+n")
        screens: list[str] = []
        await until(pilot, lambda: screens.append(shown(pilot)) or page(pilot) == "Result")
        await until(pilot, lambda: "drop: curl" in shown(pilot))
        result = shown(pilot)
    for row in ("curl         drop            yes", "python       rst             yes"):
        assert row in result, result
    for words in (
        "curl drop 1: A 0.",
        "python drop 1: A 0.",
        "curl      rst          yes",
        "python    rst          yes",
    ):
        assert any(words in screen for screen in screens), words
    last = journal.entries(runs.every()[0].journal)[-1].event
    assert isinstance(last, Finished), last


async def test_a_watch_shows_a_light_an_address() -> None:
    with open_stage() as stage:
        _, port = stage.copies(["127.0.0.2"])
        at = stage.names("shop.test", ["127.0.0.2", "127.0.0.3"])[1]
        async with suite().run_test(size=SIZE) as pilot:
            await opened(pilot, "failover-watch", "Site")
            fill(pilot, name="shop.test", port=str(port), resolver=at, timeout="60")
            pick(pilot, "scheme", "http")
            await pilot.press("ctrl+n", "ctrl+n", "ctrl+n")
            await until(pilot, lambda: "^n Start" in shown(pilot))
            await pilot.press("ctrl+n")
            await until(pilot, lambda: "[ok] 127.0.0.2" in shown(pilot))
            await until(pilot, lambda: "[--] 127.0.0.3       refused" in shown(pilot))
            await until(pilot, lambda: "no: if 127.0.0.2 goes away" in shown(pilot).replace("\n", " "))
            run = runs.every()[0]
            await until(pilot, counted_on(pilot, run))
            assert dark(shown(pilot), "127.0.0.2") == 0.0
            await pilot.press("ctrl+x")
            await until(pilot, lambda: "Stop this run?" in shown(pilot))
            await pilot.press("down", "enter")
            await until(pilot, lambda: page(pilot) == "Result")
            await until(pilot, lambda: "127.0.0.3       refused, dark" in shown(pilot))
    assert "{'" not in run.report.read_text()


def counted_on(pilot: type_of_pilot, run: runs.Run) -> Callable[[], bool]:
    """Whether the page has counted on by two seconds with no new reading to tell it so."""
    seen: list[tuple[int, float]] = []

    def grew() -> bool:
        readings = sum(isinstance(entry.event, Measured) for entry in journal.entries(run.journal))
        now = readings, dark(shown(pilot), "127.0.0.3")
        if not seen or seen[0][0] != readings:
            seen[:] = [now]
        return now[1] >= seen[0][1] + 2

    return grew


def dark(screen: str, address: str) -> float:
    """Seconds that the page says an address was dark in all; whatever the width makes of the line's end."""
    found = re.search(rf"{re.escape(address)} [^\[]*?dark\s+(?:(\d+)\s+min\s+)?([0-9.]+)\s+s", screen)
    assert found, screen
    return 60 * int(found[1] or 0) + float(found[2])
