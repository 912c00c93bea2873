"""What the tests of a BMC's drives share: a board of SuperMicro's ways for each test, and a disc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.biosiso.bmc.redfish_board import Board
from tests.engines.biosiso.bmc.redfish_emulator import make_disc


@pytest.fixture
def board() -> Iterator[Board]:
    with Board() as running:
        yield running


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    return make_disc(tmp_path)
