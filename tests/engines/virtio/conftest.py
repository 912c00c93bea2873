"""Guests shared by a whole session: a conversion takes half a minute, a boot a quarter."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from engines.job.contract import AnyEvent
from engines.job.runs import Run
from engines.rehearsal.guest.shape import DEFAULT
from tests.engines.guest.images import sha256
from tests.engines.virtio.clinic import Clinic


class Treated(NamedTuple):
    """A converted default guest: `before` is its SHA-256 before."""

    image: Path
    before: str
    run: Run
    last: AnyEvent


STEPS = ("inspect", "plan", "boots before", "convert", "boots after", "undo")
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
        terminalreporter.section("shapes moved to virtio")
        terminalreporter.write_line(f"{'shape':<16}" + "".join(f"{step:<14}" for step in STEPS))
    for name, row in ROWS.items():
        seen = "".join(f"{'yes' if row.get(step) else '-':<14}" for step in STEPS)
        terminalreporter.write_line(f"{name:<16}{seen}")


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    return Clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="session")
def treated(clinic: Clinic) -> Treated:
    """The default guest after a whole conversion with its boot test; nobody changes this image, tests copy it."""
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    run, last = clinic.run("virtio", image)
    return Treated(image, before, run, last)
