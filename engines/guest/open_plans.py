"""Operations that a plan leaves open for its execution: taken once, and ended where nobody takes them."""

from __future__ import annotations

import atexit
from typing import Generic, Protocol, TypeVar

from engines.job.contract import Plan
from engines.job.errors import Refused


class Operation(Protocol):
    """Something open, with an appliance of its own."""

    @property
    def alive(self) -> bool:
        """Whether its appliance still runs."""
        ...

    def close(self) -> None:
        """End it; nothing was committed."""
        ...


T = TypeVar("T", bound=Operation)


class OpenPlans(Generic[T]):
    """Open operations by their plan's digest."""

    def __init__(self) -> None:
        self._open: dict[str, T] = {}
        atexit.register(self.close_all)

    def keep(self, digest: str, operation: T) -> None:
        """Keep an operation open until it is taken, another one begins, or the process ends."""
        self._open[digest] = operation

    def take(self, digest: str) -> T | None:
        """The operation of that plan, if its appliance still runs."""
        operation = self._open.pop(digest, None)
        if operation is not None and not operation.alive:
            operation.close()
            return None
        return operation

    def again(self, now: Plan, then: Plan) -> T:
        """The operation of a plan made anew. Raises Refused where it is not the same plan."""
        operation = self.take(now.digest)
        if operation is None:
            raise Refused("the appliance ended while planning", "try again")
        if now.digest != then.digest:
            operation.close()
            raise Refused(
                "the guest has changed since the plan was made", "review again: the plan is no longer the same"
            )
        return operation

    def close_all(self) -> None:
        """End what plans have left open."""
        while self._open:
            self._open.popitem()[1].close()
