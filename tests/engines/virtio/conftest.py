"""Guests shared by a whole session: a conversion takes half a minute, a boot a quarter."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.job.contract import AnyEvent, StepStarted
from engines.job.journal import Entry
from engines.job.perform import Stop
from engines.job.runs import Run
from engines.rehearsal.guest.shape import DEFAULT
from tests.engines.guest.images import sha256
from tests.engines.virtio.clinic import Clinic


class Treated(NamedTuple):
    """A converted default guest: `before` is its SHA-256 before. A first run was stopped at its initrd.

    left: the image's SHA-256 and every command line of this machine, when the stopped run had ended.
    """

    image: Path
    before: str
    run: Run
    last: AnyEvent
    stopped: Run
    ending: AnyEvent
    left: tuple[str, str]


STEPS = ("inspect", "plan", "boots before", "convert", "boots after", "undo")
WHOLE = ("boots before", "boots after", "undo")
ROWS: dict[str, dict[str, bool]] = {}


class Proven:
    """The shape matrix: what was seen of each shape, printed when the tests have ended."""

    def row(self, name: str) -> dict[str, bool]:
        """A shape's row, to be filled."""
        return ROWS.setdefault(name, {})


@pytest.fixture(scope="session")
def proven() -> Proven:
    return Proven()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section(f"shapes moved to virtio, seen on {date.today()}")
        terminalreporter.write_line(f"{'shape':<18}" + "".join(f"{step:<14}" for step in STEPS))
    for name, row in ROWS.items():
        seen = "".join(f"{'yes' if row.get(step) else '-':<14}" for step in STEPS)
        terminalreporter.write_line(f"{name:<18}{seen}")
    if ROWS:
        whole = sum(all(row.get(step) for step in WHOLE) for row in ROWS.values())
        terminalreporter.write_line(f"{whole} of {len(ROWS)} booted before, after, and were undone bit for bit")


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    return Clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="session")
def treated(clinic: Clinic) -> Treated:
    """The default guest after a whole conversion with its boot test; nobody changes this image, tests copy it."""
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    stop = Stop()

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "initrd":
            stop.ask()

    stopped, ending = clinic.run("virtio", image, listen, stop)
    left = (sha256(image), commands())
    run, last = clinic.run("virtio", image)
    return Treated(image, before, run, last, stopped, ending, left)


def commands() -> str:
    """The command line of every process."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(process.read_bytes().decode("utf-8", "replace"))
    return " ".join(found)
