"""A guest's tree in a repository, and one mount for all who only look."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.engines.backup.files.mounting.served import Guest, Mounted, mounted


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("guest")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    try:
        yield Guest(folder)
    finally:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def shown(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """One mount for all who only look."""
    with mounted(guest, tmp_path_factory.mktemp("shown") / "m") as found:
        yield found
