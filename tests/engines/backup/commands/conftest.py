"""An empty repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.backup import lab


@pytest.fixture
def repo(tmp_path: Path) -> str:
    return lab.init(tmp_path / "repo")
