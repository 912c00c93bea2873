"""How fast a source may be read, and what holds the reading to it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from engines.job.contract import Cancel
from engines.job.errors import BadParam
from engines.job.units import SIZE, SUFFIX

BURST = (
    2 * 4 * 1024 * 1024
)  # bytes that may go ahead of the clock: sleeping overshoots, and the next reads make up for it


@dataclass(frozen=True)
class Limit:
    """What was asked for: `share` of the device's speed (0 < share <= 1), or `rate` in bytes/s; neither is no limit."""

    share: float = 0.0
    rate: int = 0


def parse(text: str) -> Limit:
    """60%, 40M (bytes/s; K, M, G are powers of 1024) or none. Raises BadParam."""
    if text == "none":
        return Limit()
    if (match := re.fullmatch(r"(\d{1,3})%", text)) and 0 < int(match[1]) <= 100:
        return Limit(share=int(match[1]) / 100)
    if (match := SIZE.fullmatch(text)) and int(match[1]):
        return Limit(rate=int(match[1]) * SUFFIX[match[2]])
    raise BadParam("limit", text, "a share like 60%, bytes a second like 40M, or none")


class Throttle(Protocol):
    """Holds reading to a rate; used by all reader threads."""

    words: str

    def enter(self) -> None:
        """Called once in each reader thread before it reads: a cgroup takes the thread in here."""
        ...

    def take(self, count: int) -> None:
        """Called before each read of `count` bytes; waits where that is too soon. Raises Stopped."""
        ...

    def report(self, count: int, seconds: float) -> str:
        """What was reached, in words, after `count` bytes in `seconds`."""
        ...

    def kept(self, count: int, seconds: float) -> bool:
        """Whether the limit was kept, by what was meant to keep it."""
        ...


class Unlimited(Throttle):
    """No limit; see Throttle."""

    words = "no limit"

    @override
    def enter(self) -> None:
        return

    @override
    def take(self, count: int) -> None:
        return

    @override
    def report(self, count: int, seconds: float) -> str:
        return f"read at {count / max(seconds, 1e-9) / 1e6:.0f} MB/s, not limited"

    @override
    def kept(self, count: int, seconds: float) -> bool:
        return True


class TokenBucket(Throttle):
    """A rate kept by waiting, which needs no rights; see Throttle. Debt follows the clock, so oversleep evens out."""

    def __init__(self, rate: float, origin: str, cancel: Cancel) -> None:
        self.rate = rate
        self.words = f"{rate / 1e6:.0f} MB/s by waiting ({origin})"
        self._cancel = cancel
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    @override
    def enter(self) -> None:
        return

    @override
    def take(self, count: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - BURST / self.rate) + count / self.rate
            wait = self._free_at - now
        if wait > 0:
            self._cancel.sleep(wait)

    @override
    def report(self, count: int, seconds: float) -> str:
        reached = count / max(seconds, 1e-9)
        verdict = "kept" if self.kept(count, seconds) else "NOT kept"
        return f"read at {reached / 1e6:.0f} MB/s of {self.rate / 1e6:.0f} MB/s allowed, {verdict} by waiting"

    @override
    def kept(self, count: int, seconds: float) -> bool:
        return count <= self.rate * seconds * 1.1 + BURST
