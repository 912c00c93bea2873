"""How the suite looks, in the profiles that differ most."""

from __future__ import annotations

from collections.abc import Callable

import copysuite
import pytest
from textual.pilot import Pilot

from tests.tui.conftest import Suite, at_rest, fill, page, until
from tui.console import Terminal

PROFILES = {
    "full": Terminal(colour="full", unicode=True, term="xterm-256color"),
    "sixteen": Terminal(colour="16", unicode=False, term="vt100"),
    "mono": Terminal(colour="mono", unicode=False, term="xterm"),
}
Compare = Callable[..., bool]


def suite(name: str) -> Suite:
    return Suite(copysuite.wizards(), PROFILES[name], host="rescue1")


@pytest.mark.parametrize("name", PROFILES)
def test_a_form_with_a_field_at_fault(name: str, snap_compare: Compare) -> None:
    async def walk(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        fill(pilot, source="/etc/hostname", output="/srv/b.txt", count="many")
        await pilot.press("ctrl+n", "ctrl+n")
        await until(pilot, lambda: page(pilot) == "Manner")
        await at_rest(pilot)

    assert snap_compare(suite(name), terminal_size=(80, 24), run_before=walk)


@pytest.mark.parametrize("name", ["full", "sixteen"])
def test_the_home_screen(name: str, snap_compare: Compare) -> None:
    async def walk(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: page(pilot) == "Home")
        await at_rest(pilot)

    assert snap_compare(suite(name), terminal_size=(80, 24), run_before=walk)
