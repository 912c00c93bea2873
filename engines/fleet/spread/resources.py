"""What a worker has of each limit, by which Dask gives it work; a task takes one of each that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engines.fleet.config.model import CONTROLLER, Fleet
from engines.fleet.round.limits import AT_CONTROLLER, Limits
from engines.host.version import version

SHARE = "share"
SHARES = 2  # of packs that a worker reads at once: while the last records of one are waited for, the next is begun
ENOUGH = 1e9


def same() -> str:
    """What only workers of the very same crashcart have, since they are handed its own code to run."""
    return f"crashcart {version()}"


def of(fleet: Fleet, only: Sequence[str]) -> dict[str, float]:
    """A worker's. only: the repositories that it can reach, all where none is named.

    Each worker has the whole of a limit: that all together keep it is up to the one controller that hands out.
    """
    left_out = {f"repository {name}" for name in fleet.repositories.keys() - set(only)} if only else set()
    limits = {name: most for name, most in Limits(fleet).all.items() if name not in left_out}
    return {same(): ENOUGH, SHARE: SHARES, **limits, f"host {CONTROLLER}": AT_CONTROLLER}


def needed(needs: Iterable[str]) -> dict[str, float]:
    """A task's."""
    return dict.fromkeys((same(), *needs), 1)
