"""What really goes down the line, on terminals of 1978 to today."""

from __future__ import annotations

import pytest

from tests.tui.conftest import Desk
from tests.tui.serial import ENTER, ESCAPE, NEXT, Serial

PROFILES = {
    "linux": {"TERM": "linux", "LANG": "en_US.UTF-8"},
    "vt100": {"TERM": "vt100", "LANG": "en_US.UTF-8"},
    "dumb": {"TERM": "dumb"},
    "NO_COLOR": {"TERM": "xterm-256color", "NO_COLOR": "1", "LANG": "C"},
    "LANG=C": {"TERM": "xterm-256color", "LANG": "C"},
    "truecolor": {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"},
}


@pytest.mark.parametrize("name", PROFILES)
def test_every_cell_is_seen_and_only_ascii_is_sent_where_only_ascii_is_read(name: str, desk: Desk) -> None:
    with Serial(PROFILES[name]) as serial:
        walked = []

        def look(words: str) -> None:
            walked.append(serial.until(words))
            assert not serial.unseen(), serial.unseen()[:3]

        look("a text file copied with care")
        serial.press(ENTER)
        look("Source file")
        serial.press(f"{desk.source}{ENTER}")
        look("Where the copy goes")
        serial.press(f"{desk.output}{NEXT}")
        look("( ) upper case")
        serial.press(NEXT)
        look("Token")
        serial.press(NEXT)
        look("^n Start")
        serial.press(NEXT)
        look("To start, type")
        serial.press(ESCAPE)
        look("^n Start")
        serial.press("\x03")
        look("Stay here")
        serial.press("\x1b[B" + ENTER)
        assert serial.gone()
    if name == "truecolor":
        assert "\u2500" in serial.raw.decode()
    else:
        assert serial.raw.isascii()
        assert b"38;2;" not in serial.raw
    if name == "NO_COLOR":
        assert b"[36m" not in serial.raw


def test_an_arrow_key_that_a_slow_line_splits_is_still_an_arrow() -> None:
    with Serial(PROFILES["vt100"] | {"ESCDELAY": "3600000"}) as serial:
        serial.until("> copy")
        serial.press("\x1b")
        serial.at_rest()
        serial.press("[B")
        serial.when(lambda text: "> copy" not in text, "another row")
        serial.press("h")
        serial.until("No run yet")


def test_a_terminal_is_remembered_as_plain_once_it_was_made_so() -> None:
    with Serial(PROFILES["truecolor"]) as serial:
        serial.until("> copy")
        assert "\u2500" in serial.text()
        serial.press("\x14")
        serial.when(lambda text: "\u2500" not in text and "---" in text, "a plain screen")
        serial.press("\x03")
        assert serial.gone()
