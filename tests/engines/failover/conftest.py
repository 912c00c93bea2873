from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.engines.failover.stage import Stage, open_stage

settings.register_profile("shared machine", deadline=None)  # timings drift where others work too
settings.load_profile("shared machine")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with open_stage() as opened:
        yield opened
