"""What a test needs and this machine lacks: a failure in CI, a skip with its reason elsewhere."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str) -> NoReturn:
    """End the test over something that is not here."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)
