"""A server of a small disk."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from engines.backup.nbd.server import NbdServer, serving
from tests.engines.backup.lab import MIB
from tests.engines.backup.nbd.peer import Disk


@pytest.fixture
def small() -> Iterator[NbdServer]:
    with serving(Disk(random.Random(1).randbytes(3 * MIB), range(2 * MIB, 2 * MIB + 1)), name="web1") as server:
        yield server
