"""What is noted of points beside them goes by their new names, too: protection, damage, and when they were proven."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from engines.backup.names import PointName
from engines.backup.repository import protected, quarantine, verified
from engines.backup.store.store import Store

LONGEST = 1 << 16  # bytes of a protection


def renamed(name: PointName, vm: str) -> PointName:
    """The same point of a VM of that name."""
    return PointName(vm, name.disk, name.time)


def follow(store: Store, old: Sequence[PointName], vm: str) -> None:
    """Before the points have their new names, so that no prune takes one that is protected. Raises OSError."""
    carried(store, old, [renamed(name, vm) for name in old])
    new = {str(name): str(renamed(name, vm)) for name in old}
    quarantine.also(store, new)
    verified.also(store, new)


def carried(store: Store, names: Sequence[PointName], to: Sequence[PointName]) -> None:
    """Protect each of `to` as the one of `names` at its place is. Raises OSError."""
    safe = set(store.names(protected.FOLDER))
    for name, other in zip(names, to, strict=True):
        if name.path(protected.FOLDER) in safe:
            with suppress(FileNotFoundError):  # taken off meanwhile
                store.put(other.path(protected.FOLDER), store.read(name.path(protected.FOLDER), 0, LONGEST))


def let_go(store: Store, names: Sequence[PointName]) -> None:
    """Their protection went with them. Raises OSError."""
    for path in set(store.names(protected.FOLDER)) & {name.path(protected.FOLDER) for name in names}:
        with suppress(FileNotFoundError):
            store.delete(path)
