"""The Fleet page over real hosts and a real repository: who has a backup, what is wrong, and each guest's runs."""

from __future__ import annotations

from pathlib import Path

import engines
from tests.engines.fleet.lab import fleet
from tests.tui.conftest import Suite, page, shown, until
from tests.tui.fits import cut
from tui.console import Terminal
from tui.fleet.guests import Guests
from wizards import WIZARDS

SIZE = (80, 24)


async def test_every_guest_has_a_row_and_its_runs_and_the_worst_stands_first(tmp_path: Path) -> None:
    with fleet(tmp_path, [[(1, "web1"), (2, "web2")]]) as lab:
        assert engines.run("fleet", fleet=str(lab.path), now=True, only="web1").ok
        lab.write(more="").write_text(lab.path.read_text().replace("{match: all,", "{match: {name: web1},"))
        app = Suite(WIZARDS, Terminal())
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: page(pilot) == "Home")
            app.push_screen(Guests(lab.path))
            await until(pilot, lambda: "2 guests: 1 uncovered, 1 good" in shown(pilot))
            rows = [row for row in shown(pilot).splitlines() if "web" in row and "|" not in row]
            assert "web2" in rows[0] and "uncovered" in rows[0], rows
            assert "web1" in rows[1] and "good" in rows[1] and rows[1].rstrip().endswith("near"), rows
            await until(pilot, lambda: "no rule fits it" in shown(pilot))
            assert list(cut(pilot)) == []
            await pilot.press("end", "enter")
            await until(pilot, lambda: "backup web1 to near" in shown(pilot))
            await pilot.press("escape", "slash", *"web1", "enter")
            await until(pilot, lambda: "web1: 1" in shown(pilot))
            await pilot.press("escape")
            await until(pilot, lambda: page(pilot) == "Home")


async def test_without_a_fleet_file_it_says_what_to_do(tmp_path: Path) -> None:
    app = Suite(WIZARDS, Terminal())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        app.push_screen(Guests(tmp_path / "none.yaml"))
        await until(pilot, lambda: "f names another file" in shown(pilot))
        (tmp_path / "bad.yaml").write_text("hosts: 7\n")
        await pilot.press("f")
        await until(pilot, lambda: page(pilot) != "Guests")
        await pilot.press(*str(tmp_path / "bad.yaml"), "enter")
        await until(pilot, lambda: "hosts is 7" in shown(pilot))
