"""A task of each kind from the home screen to its report, by keys alone, on a vt100 of 80x24."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tui.serial import ENTER, ESCAPE, NEXT, Serial
from wizards import WIZARDS

VT100 = {"TERM": "vt100", "LANG": "C"}
DOWN = "\x1b[B"
LETTERS = {"biosiso": "b", "virtio": "v", "vdx": "vd", "failover": "f", "backup": "ba", "fleet": "fl"}
WORDS = {"vdx": "sw1", "virtio": "centos5-1.img"}
TITLES = {wizard.task: [form.title for form in wizard.forms] for wizard in WIZARDS}


def walk(serial: Serial, task: str, within: float = 600.0) -> str:
    """A rehearsal from the home screen to its result; what the result page says. Ends on the home screen."""
    serial.until("This machine")
    serial.press("r")
    serial.until("> Rehearse ")
    serial.press(ENTER)
    serial.until("Rehearse which task?")
    serial.press(LETTERS[task])
    serial.until(f"> {task} ")
    serial.press(ENTER)
    for at, title in enumerate(TITLES[task], 1):
        serial.until(f"[>] {title}   {at} of ", within)
        if title == "Command":  # the boot test takes an emulated machine's time
            serial.press(DOWN * 4 + " ")
            serial.until("[ ] Boot test")
        serial.press(NEXT)
    serial.until("^n Start", within)
    assert task == "fleet" or not re.search(r"(?<!-)--[a-z]", serial.text())  # options are the command line's
    serial.press(NEXT)
    if task in WORDS:
        serial.until(f"To start, type  {WORDS[task]}  and press Enter")
        serial.press(WORDS[task] + ENTER)
    serial.when(lambda text: "[>] Result" in text and "Steps" in text, "the result", within)
    ended = serial.text()
    serial.press("v")
    serial.when(lambda text: "- outcome: " in text and "Space Next screenful" in text, "the report")
    serial.press(ESCAPE)
    serial.until("[>] Result")
    serial.press(ENTER)
    serial.until("This machine")
    return ended


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {**VT100, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


def test_what_is_quick_to_rehearse_is_walked_to_its_report_and_stands_in_the_history(home: dict[str, str]) -> None:
    tasks = ["biosiso", "backup", "vdx"]
    with Serial(home, module="tui") as serial:
        for task in tasks:
            assert "[x] Done" in walk(serial, task), task
        serial.press("h")
        for task in tasks:
            serial.when(lambda text, task=task: f" {task} " in text, f"{task} in the history")  # type: ignore[misc]
        serial.press(ENTER)
        serial.when(lambda text: "crashcart vdx:" in text, "the newest run's report")
        serial.press(ESCAPE)
        serial.until("begun, UTC")
        serial.press(ESCAPE)
        serial.until("This machine")
        serial.press("\x03")
        assert serial.gone()
    assert serial.raw.isascii()


@pytest.mark.soak  # minutes of emulated machines, of three hosts, of real clients
@pytest.mark.parametrize("task", ["failover", "fleet", "virtio"])
def test_what_takes_long_to_rehearse_is_walked_to_its_report(task: str, home: dict[str, str]) -> None:
    with Serial(home, module="tui") as serial:
        assert "[x] Done" in walk(serial, task, 3600.0)
