"""Who follows the jobs of a round: threads of this process, or whoever else keeps the same promise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from typing_extensions import override

from engines.fleet.agent import wire
from engines.fleet.round.following import Following, Lost, Order, Outcome

Hear = Callable[[wire.Begun | Outcome], None]


class Hands(Protocol):
    """Jobs are followed elsewhere than in the thread of the round."""

    def follow(self, order: Order, needs: Iterable[str], urgency: float, hear: Hear) -> None:
        """Have it done. needs: what it takes one of each; urgency: the least is begun first.

        hear: is told that it began, each time that somebody takes it up, and at last how it came out, in any thread.
        """
        ...

    def look(self) -> None:
        """Called about once a second while jobs are out."""
        return

    def close(self) -> None:
        """Let go of all; what runs on hosts goes on there."""


class Here(Hands):
    """Threads of this process, as many as jobs can be out at once."""

    def __init__(self, jobs: int) -> None:
        self._pool = ThreadPoolExecutor(max(1, jobs))
        self._lock = threading.Lock()
        self._out: set[Following] = set()

    @override
    def follow(self, order: Order, needs: Iterable[str], urgency: float, hear: Hear) -> None:
        following = Following(order)
        with self._lock:
            self._out.add(following)
        self._pool.submit(self._followed, following, hear)

    def _followed(self, following: Following, hear: Hear) -> None:
        """In a thread of its own."""

        def tell(answer: wire.Begun | wire.Progressed) -> None:
            if isinstance(answer, wire.Begun):
                hear(answer)

        try:
            outcome = following.outcome(tell)
        except Exception as error:  # noqa: BLE001  a thread that dies in silence would be waited for for ever
            outcome = Lost(f"unexpected: {type(error).__name__}: {error}")
        with self._lock:
            self._out.discard(following)
        hear(outcome)

    @override
    def close(self) -> None:
        with self._lock:
            out = list(self._out)
        for following in out:
            following.let_go()
        self._pool.shutdown()
