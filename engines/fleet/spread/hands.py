"""The jobs of a round followed by the workers of a cluster, and by this process where none of them does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from typing_extensions import override

from engines.fleet.agent import wire
from engines.fleet.config.model import Fleet
from engines.fleet.round.following import Lost, Order
from engines.fleet.round.hands import Hands, Hear, Here
from engines.fleet.spread.line import Line, Undone
from engines.fleet.spread.work import follow
from engines.job.errors import Failed


class Afar(Hands):
    """Over a line to the cluster; jobs of the controller's own machine stay here. trouble: is told why one came back.

    A job is given to one after the other, never lost with one of them: who takes it up follows what runs already.
    """

    def __init__(self, line: Line, jobs: int, trouble: Callable[[str], None]) -> None:
        self._line = line
        self._here = Here(jobs)
        self._trouble = trouble
        self._closed = False

    @override
    def follow(self, order: Order, needs: Iterable[str], urgency: float, hear: Hear) -> None:
        needs = tuple(needs)
        if order.host.ssh == "local":
            self._here.follow(order, needs, urgency, hear)
            return

        def told(said: Mapping[str, Any]) -> None:
            if "run" in said:
                hear(wire.Begun(run=str(said["run"]), new=bool(said["new"])))

        def done(outcome: Any | Undone) -> None:
            if not isinstance(outcome, Undone):
                hear(outcome)
            elif self._closed:
                hear(Lost("the controller was stopped"))
            else:
                self._trouble(f"{outcome.why}: {order.name} is followed from here")
                self._here.follow(order, needs, urgency, hear)

        self._line.hand(follow, order, needs, urgency, done, told)

    @override
    def look(self) -> None:
        self._line.look()

    @override
    def close(self) -> None:
        self._closed = True
        self._line.close()
        self._here.close()


def hands(fleet: Fleet, jobs: int, trouble: Callable[[str], None]) -> Hands:
    """Those of the cluster; this process where there is none, or none that answers. Raises Refused."""
    if fleet.cluster is None:
        return Here(jobs)
    try:
        return Afar(Line(fleet), jobs, trouble)
    except Failed as failed:
        trouble(f"{failed}; jobs are followed from here")
        return Here(jobs)
