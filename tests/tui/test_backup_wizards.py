"""The backup wizards by keyboard: a repository made, a disk backed up, restored whole, and the repository proven."""

from __future__ import annotations

import random
from pathlib import Path

from tests.tui.conftest import Suite, fill, page, shown, start, type_of_pilot, until
from tui.console import Terminal
from wizards import WIZARDS

SIZE = (80, 24)
MIB = 1 << 20


async def row(pilot: type_of_pilot, name: str) -> None:
    """Move down to a row and choose it."""
    for _ in range(24):
        if f"> {name}" in shown(pilot):
            break
        await pilot.press("down")
    assert f"> {name}" in shown(pilot), shown(pilot)
    await pilot.press("enter")


async def task(pilot: type_of_pilot, name: str, first: str) -> None:
    """From the home screen to a wizard's first page."""
    await until(pilot, lambda: page(pilot) == "Home")
    await row(pilot, "backup")
    await until(pilot, lambda: page(pilot) == "SectionScreen")
    await row(pilot, name)
    await until(pilot, lambda: page(pilot) == first)


async def reviewed(pilot: type_of_pilot, pages: int) -> None:
    await pilot.press(*["ctrl+n"] * pages)
    await until(pilot, lambda: "^n Start" in shown(pilot))


async def ended(pilot: type_of_pilot) -> str:
    """What the result page says; then home again."""
    await until(pilot, lambda: page(pilot) == "Result" and "[x]" in shown(pilot))
    await until(pilot, lambda: "Steps" in shown(pilot))
    said = shown(pilot)
    await pilot.press("enter")
    await until(pilot, lambda: page(pilot) == "SectionScreen")
    await pilot.press("escape")
    return said


async def test_a_disk_goes_into_a_new_repository_and_back_by_keyboard(tmp_path: Path) -> None:
    disk, repo, back = tmp_path / "disk.img", tmp_path / "repo", tmp_path / "back.img"
    disk.write_bytes(random.Random(1).randbytes(3 * MIB) + bytes(5 * MIB))
    back.write_bytes(b"old" * MIB)
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await task(pilot, "New repository", "Repository")
        fill(pilot, repo=str(repo))
        await reviewed(pilot, 2)
        await start(pilot, "")
        assert "is ready" in (await ended(pilot)).replace("\n", " ")

        await task(pilot, "Back up now", "Disk")
        fill(pilot, source=str(disk), vm="web1", repo=str(repo), limit="none")
        await reviewed(pilot, 4)
        assert "the first backup of this disk" in shown(pilot)
        await start(pilot, "")
        assert "web1/disk0@" in await ended(pilot)

        await task(pilot, "Restore a disk", "Repository")
        fill(pilot, repo=str(repo), point="web1/disk0@latest", target=str(back))
        await reviewed(pilot, 2)
        await pilot.press("pagedown")
        await until(pilot, lambda: "it cannot be: what was on the target is overwritten" in shown(pilot))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await pilot.press("n", "o", "enter")
        await until(pilot, lambda: "nothing was started" in shown(pilot))
        assert back.read_bytes() == b"old" * MIB
        await pilot.press("escape")
        await start(pilot, back.name)
        await ended(pilot)
        assert back.read_bytes() == disk.read_bytes()

        await task(pilot, "Verify", "Repository")
        fill(pilot, repo=str(repo))
        await reviewed(pilot, 2)
        await start(pilot, "")
        assert "whole" in await ended(pilot)
