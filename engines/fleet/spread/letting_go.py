"""A worker lets go of what no controller wants any more, so that its place is free for the next."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin
from typing_extensions import override

from engines.fleet.spread import work


class LettingGo(WorkerPlugin):  # type: ignore[misc]  # Dask has no types here
    """On each worker, for as long as it lives."""

    name = "crashcart"

    @override
    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        if finish == "cancelled":
            work.FOLLOWED.let_go(str(key))
