"""Points that stay whatever the rules of prune say: a small file each, named like the point's."""

from __future__ import annotations

import time

import msgspec

from engines.backup.names import PointName
from engines.backup.repository.repository import NamesOnly
from engines.backup.store.store import Store

FOLDER = "protected"


def every(repository: NamesOnly) -> set[PointName]:
    """Those that are protected, whether they are still there or not."""
    return set(repository.names(FOLDER))


def put(store: Store, name: PointName, why: str) -> None:
    """Protect a point."""
    said = {"since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "why": why}
    store.put(name.path(FOLDER), msgspec.json.encode(said))


def end(store: Store, name: PointName) -> None:
    """Protect it no more. Raises FileNotFoundError."""
    store.delete(name.path(FOLDER))
