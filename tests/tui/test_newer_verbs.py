"""What became of backups later, by keyboard: a name searched over all points, a point kept, copied and taken along."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.job.params import Secret
from engines.rehearsal import disk
from tests.tui.conftest import Suite, fill, page, shown, start, until
from tests.tui.fits import cut
from tests.tui.test_backup_wizards import SIZE, ended, reviewed, row, task
from tui.browse.access import Access
from tui.browse.calendar import disks
from tui.browse.disks import Disks
from tui.console import Terminal
from wizards import WIZARDS


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(disk.make(tmp_path_factory.mktemp("shop"))["repo"])


async def test_a_name_is_searched_over_all_points_and_its_newest_opened(shop: Path) -> None:
    access = Access(str(shop))
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.push_screen(Disks(access, disks(access.points())))
        await until(pilot, lambda: "s Search them all" in shown(pilot))
        assert list(cut(pilot)) == []
        await pilot.press("s")
        await until(pilot, lambda: "Search every point" in shown(pilot))
        await pilot.press(*"imprint*", "enter")
        await until(pilot, lambda: "That is all." in shown(pilot))
        assert "3 points searched, 1 found" in shown(pilot)
        assert list(cut(pilot)) == []
        assert "rehearsal/disk0:/var/www/shop/imprint.html" in shown(pilot)
        await until(pilot, lambda: "one version, gone since" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "lost+found" in shown(pilot))
        await pilot.press("escape", "escape", "s", *"nothing-of-it", "enter")
        await until(pilot, lambda: "0 found. That is all." in shown(pilot))


async def test_a_point_is_kept_copied_and_taken_along_by_keyboard(shop: Path, tmp_path: Path) -> None:
    second, file = tmp_path / "second", tmp_path / "shop.tar"
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await task(pilot, "Keep a point", "Repository")
        fill(pilot, repo=str(shop), point="rehearsal/disk0@latest", why="before the audit")
        await reviewed(pilot, 2)
        await start(pilot, "")
        await ended(pilot)
        await task(pilot, "New repository", "Repository")
        fill(pilot, repo=str(second))
        await reviewed(pilot, 2)
        await start(pilot, "")
        await ended(pilot)
        await task(pilot, "Copy elsewhere", "Repository")
        fill(pilot, repo=str(shop), to=str(second))
        await reviewed(pilot, 3)
        await start(pilot, "")
        await ended(pilot)
        assert len(Access(str(second)).points()) == 3
        await task(pilot, "Export a point", "Repository")
        fill(pilot, repo=str(shop), point="rehearsal/disk0@latest", file=str(file))
        await reviewed(pilot, 2)
        await start(pilot, "")
        await ended(pilot)
        assert file.stat().st_size > 0


async def test_a_keys_sheet_is_read_without_a_key_and_says_how_it_is_printed(tmp_path: Path) -> None:
    place = tmp_path / "locked"
    assert engines.run("backup-init", repo=str(place), cipher="aes-256-gcm", passphrase=Secret("correct horse")).ok
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await row(pilot, "backup")
        await until(pilot, lambda: page(pilot) == "SectionScreen")
        await row(pilot, "Key on paper")
        await until(pilot, lambda: page(pilot) == "Papers" and "> " in shown(pilot))
        await until(pilot, lambda: str(place)[-30:] in shown(pilot))
        await pilot.press("home", "enter")
        await until(pilot, lambda: "RECOVERY SHEET" in shown(pilot))
        assert "crashcart backup key paper --repo" in shown(pilot)
        await pilot.press("slash", *"config.json", "enter")
        await until(pilot, lambda: "config.json: 1 of" in shown(pilot))
