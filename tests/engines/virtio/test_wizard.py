"""The conversion by keyboard alone, at 80x24, from the home screen to the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.job import runs
from engines.rehearsal.guest.shape import DEFAULT
from tests.engines.guest.images import sha256
from tests.engines.virtio.clinic import Clinic, boot
from tests.tui.conftest import fill, page, shown, start, until
from tui.app import Suite
from tui.console import Terminal
from wizards.virtio import CONVERT

pytestmark = [pytest.mark.boot, pytest.mark.soak]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))


async def test_a_guest_gets_from_the_home_screen_to_virtio_by_keyboard(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    async with Suite((CONVERT,), Terminal(), "").run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Image")
        fill(pilot, image=str(image))
        await pilot.press("ctrl+n", "ctrl+n", "ctrl+n")
        await until(pilot, lambda: "^n Start" in shown(pilot), within=300.0)
        assert sha256(image) == before
        await start(pilot, image.name)
        await until(pilot, lambda: page(pilot) == "Result", within=600.0)
        assert "bootsfromvirtioasvda" in "".join(shown(pilot).split())
        assert "report.md" in shown(pilot)
    run = runs.every()[0]
    assert "root is mounted from vda" in run.report.read_text()
    assert boot(image, "virtio").ok
