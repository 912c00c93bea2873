"""What a terminal does to a screen: it hangs up, stops and goes on, and changes its size."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.tui.conftest import Desk
from tests.tui.serial import COLUMNS, ENTER, ROWS, Serial
from tests.tui.test_lost_line import TERMINAL

HELP, PICK, DOWN = "\x07", "\x06", "\x1b[B"
SCREENS = {  # the keys that lead there from the home screen, each with what tells that it was done
    "home": [],
    "form": [(ENTER, "Source file")],
    "picker": [(ENTER, "Source file"), (PICK, "Enter Choose")],
    "question": [(ENTER, "Source file"), ("x\x0f", "Leave this task?")],
    "reader": [(HELP, "The same keys")],
    "history": [("h", "No run yet")],
}


@pytest.mark.parametrize("screen", SCREENS)
def test_a_line_that_hangs_up_ends_any_screen(screen: str) -> None:
    with Serial(TERMINAL) as serial:
        serial.until("> copy")
        for keys, words in SCREENS[screen]:
            serial.press(keys)
            serial.until(words)
        serial.hang_up()
        assert serial.gone()


def state(serial: Serial) -> str:
    return Path(f"/proc/{serial.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_screen_that_was_stopped_is_drawn_anew_when_it_goes_on(desk: Desk) -> None:
    with Serial(TERMINAL) as serial:
        serial.until("> copy")
        serial.press(ENTER)
        serial.until("Source file")
        serial.press(str(desk.source))
        serial.until(desk.source.name)
        serial.at_rest()
        before = serial.text()
        os.kill(serial.pid, signal.SIGTSTP)  # what a shell's kill -TSTP and a job control's stop send
        serial.when(lambda _: state(serial) == "T", "a stopped process")
        serial.read(0.1)
        serial.screen.reset()  # the shell wrote over it meanwhile
        os.kill(serial.pid, signal.SIGCONT)
        serial.when(lambda text: text == before, f"what stood there before:\n{before}")
        serial.press("\x1b[B" + str(desk.output))
        serial.until(desk.output.name)


def test_a_window_that_becomes_tiny_and_large_again_shows_all_as_before() -> None:
    with Serial(TERMINAL) as serial:
        serial.until("> copy")
        serial.press(ENTER)
        serial.until("Source file")
        serial.at_rest()
        before = serial.text()
        serial.resize(20, 5)
        serial.when(lambda text: text != before and "[" in text, "something on 20x5")
        serial.at_rest()
        serial.press(DOWN)
        serial.resize(COLUMNS, ROWS)
        serial.press("\x1b[A")
        serial.when(lambda text: text == before, f"what stood there before:\n{before}")
        serial.press("\x03")
        assert serial.gone()
