"""Which crashcart this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """As the package was installed."""
    try:
        return installed("crashcart")
    except PackageNotFoundError:
        return "of a checkout that was not installed"
