"""Folders that the biosiso tests need beside pytest's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own are closed again by every other session that starts."""
    with tempfile.TemporaryDirectory(prefix="crashcart-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
