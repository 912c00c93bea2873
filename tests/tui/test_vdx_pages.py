"""The vdx wizard by keyboard: the seed's case from the home screen to both ends up."""

from __future__ import annotations

from engines.job import journal, runs
from engines.job.contract import Finished
from engines.rehearsal.switches import Knobs, Rehearsal
from tests.tui.conftest import Suite, fill, page, shown, until
from tui.console import Terminal
from wizards import WIZARDS

SIZE = (80, 24)


async def test_a_port_that_is_down_is_mended_by_keyboard() -> None:
    with Rehearsal(Knobs(), Knobs()) as switches:
        before = switches.a.shown()
        async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
            await until(pilot, lambda: page(pilot) == "Home")
            for _ in range([wizard.task for wizard in WIZARDS].index("vdx")):
                await pilot.press("down")
            await pilot.press("enter")
            await until(pilot, lambda: page(pilot) == "Switch")
            values = switches.params() | {"password": switches.password, "console": switches.console(switches.a)}
            fill(pilot, **values, stable_for="1", reboot_timeout="60")
            await pilot.press(*["ctrl+n"] * 6)
            await until(pilot, lambda: "^n Start" in shown(pilot))
            assert "sw1" in shown(pilot)
            await pilot.press("ctrl+n")
            await until(pilot, lambda: page(pilot) == "TypedWord")
            await pilot.press(*"sw1", "enter")
            await until(pilot, lambda: page(pilot) == "Result")
            await until(pilot, lambda: "both ends are up" in shown(pilot).replace("\n", " "))
        assert switches.a.shown() == before and (switches.a.vcsid, switches.b.vcsid) == (2, 1)
        assert switches.password not in (runs.every()[0].folder / "journal.jsonl").read_text()
    assert isinstance(journal.entries(runs.every()[0].journal)[-1].event, Finished)
