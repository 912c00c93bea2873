"""How often progress is told: a few times a second, and always the end of a step."""

from __future__ import annotations

import time

from engines.job.contract import Progress


class Pace:
    """Lets through `per_second` events a second, and every one that completes its total."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1.0 / per_second  # s
        self._last = float("-inf")

    def due(self, event: Progress) -> bool:
        """Whether this one is told."""
        now = time.monotonic()
        if event.done < event.total and now - self._last < self._gap:
            return False
        self._last = now
        return True
