"""The jobs of a round followed by the workers of a cluster, and by this process where none of them does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from typing_extensions import override

from engines.fleet.agent import wire
from engines.fleet.config.model import CONTROLLER, Fleet
from engines.fleet.round.following import Lost, Order
from engines.fleet.round.hands import Hands, Hear, Here
from engines.fleet.spread.line import Line, Undone
from engines.fleet.spread.security import Outside
from engines.fleet.spread.work import follow
from engines.job.errors import Failed

# What changes nothing of a repository, and so may be done wherever its keys are.
ANYWHERE = ("backup-boot", "backup-prove", "backup-verify")


def anywhere(order: Order) -> bool:
    """Whether any worker may do it in the controller's place; not of a folder, which may be another one there."""
    words = order.words
    return order.name == CONTROLLER and words is not None and words.task in ANYWHERE and "://" in words.params["repo"]


class Afar(Hands):
    """Over a line to the cluster; what is for this machine alone stays here. trouble: is told why one came back.

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
        if order.host.ssh == "local" and not anywhere(order):
            self._here.follow(order, needs, urgency, hear)
            return

        def told(said: Mapping[str, Any]) -> None:
            if "run" in said:
                hear(wire.Begun(run=str(said["run"]), new=bool(said["new"])))

        def done(outcome: Any | Undone) -> None:
            declined = anywhere(order) and isinstance(outcome, wire.Declined)
            if not isinstance(outcome, Undone) and not declined:
                hear(outcome)
            elif self._closed:
                hear(Lost("the controller was stopped"))
            else:
                what = order.words.task if declined and order.words else order.name
                self._trouble(f"{outcome.why}: {what} is followed from here")
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
    """Those of the cluster; this process where there is none, none that it may join, or none that answers.

    Raises Refused.
    """
    if fleet.cluster is None:
        return Here(jobs)
    try:
        return Afar(Line(fleet), jobs, trouble)
    except (Failed, Outside) as failed:
        trouble(f"{failed}; jobs are followed from here")
        return Here(jobs)
