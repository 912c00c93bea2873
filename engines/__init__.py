"""Headless engines of crashcart: usable from any script, no screen needed; the names for scripts stand in `api`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """A name of `engines.api`, loaded when it is first asked for: `import engines` alone stays quick."""
    import importlib

    if name.startswith("_"):
        raise AttributeError(name)
    api = importlib.import_module("engines.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'engines' has no attribute {name!r}")
