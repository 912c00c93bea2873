"""A worker lets go of what no controller wants any more, so that its place is free for the next."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from engines.fleet.spread import work


def letting_go() -> Any:
    """Dask's plugin of a worker, for as long as that lives; a class that only exists where Dask does."""
    from distributed import WorkerPlugin

    class LettingGo(WorkerPlugin):  # type: ignore[misc]  # Dask has no types here
        name = "crashcart"

        @override
        def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
            if finish == "cancelled":
                work.FOLLOWED.let_go(str(key))

    return LettingGo()
