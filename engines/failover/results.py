"""What the runs of failover give as their result."""

from __future__ import annotations

from typing import Any

import msgspec

from engines.failover.tables import Table


class LabResult(msgspec.Struct, frozen=True, kw_only=True):
    """Of `lab`. table: as `predict --table` takes it. missing: clients that are not here, with how to get them.

    returns: measurements of visitors that came back after a while. tcpdump: how many timelines a second witness
    checked, and where it disagreed.
    """

    table: Table
    missing: dict[str, str] = {}
    returns: list[Any] = []
    tcpdump: dict[str, Any] = {}


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """Of `watch`. addresses: state, seconds and outage of each; `more` were left out. outage, seconds: in all.

    dark: no address answers at its end, which was `at` (Unix time).
    """

    addresses: list[dict[str, Any]]
    more: int
    outage: float
    looks: int
    seconds: float
    dark: bool = False
    at: float = 0.0
