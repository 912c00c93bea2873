"""The screen may die at any moment: the run goes on, and a second screen shows it to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engines.job import detach, runs
from engines.job.contract import Finished
from engines.job.runs import Run
from tests.tui.conftest import Desk
from tests.tui.serial import ENTER, NEXT, Serial

TERMINAL = {"TERM": "vt100"}


def begun(serial: Serial, desk: Desk) -> Run:
    """A run started by keyboard; it stands still in its second step until `desk.gate("wait")` is gone."""
    desk.gate("wait").touch()
    desk.output.unlink()
    serial.until("> copy")
    serial.press(ENTER)
    serial.until("Source file")
    serial.press(f"{desk.source}{ENTER}{desk.output}{NEXT}")
    serial.until("( ) upper case")
    serial.press(f"\t40{NEXT}")
    serial.until("Token")
    serial.press(f"{ENTER}{ENTER}{desk.hold}{NEXT}")
    serial.until("^n Start")
    serial.press(NEXT)
    serial.until("/40 lines")
    return runs.every()[0]


@contextmanager
def hangups(inherited: signal.Handlers) -> Iterator[None]:
    """What a screen begins with: under nohup, hangups are ignored."""
    before = signal.signal(signal.SIGHUP, inherited)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("how", "inherited"),
    [("SIGKILL", signal.SIG_DFL), ("SIGHUP", signal.SIG_DFL), ("SIGHUP", signal.SIG_IGN)],
)
def test_a_run_outlives_its_screen_and_attach_shows_it_to_its_end(
    how: str, inherited: signal.Handlers, desk: Desk
) -> None:
    with hangups(inherited), Serial(TERMINAL) as serial:
        run = begun(serial, desk)
        if how == "SIGKILL":
            serial.kill()
        else:
            serial.hang_up()
            assert serial.gone()
    assert run.status() == "running"
    with Serial(TERMINAL, "--attach", run.id) as second:
        second.until("/40 lines")
        desk.gate("wait").unlink()
        second.until("[x] Done")
        second.press("\x03")
        assert second.gone()
    assert isinstance([entry.event for entry in detach.follow(run)][-1], Finished)
    assert desk.output.read_text() == desk.source.read_text()
