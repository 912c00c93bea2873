"""How fast a repository may be written, by the hour: what leaves is held back, however fast it was read."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from engines.job.errors import BadParam
from engines.job.units import SIZE, SUFFIX

BURST = 1024 * 1024  # bytes that may go ahead of the clock: one block
ALLOWED = "bytes a second like 30M, none, or by the hour: '07:00-22:00 30M, else none'"
HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d) +(\S+)$")


@dataclass(frozen=True)
class Rule:
    """A rate in bytes/s, 0 for none, from one minute of the day to before another, by this machine's clock."""

    start: int
    end: int
    rate: int

    def holds(self, minute: int) -> bool:
        """Whether it does at that minute of the day; one that ends before it starts goes over midnight, and one that
        ends when it starts is the whole day.
        """
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


def parse(text: str) -> tuple[Rule, ...]:
    """The rules in their order; the first that holds counts, without one there is no limit. Raises BadParam."""
    parts = [part.strip() for part in text.split(",")]
    return tuple(_rule(part, text, only=len(parts) == 1) for part in parts)


def _rule(part: str, text: str, *, only: bool) -> Rule:
    if match := HOURS.match(part):
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        return Rule(start, end, _rate(match[5], text))
    if part.startswith("else "):
        return Rule(0, 24 * 60, _rate(part.removeprefix("else ").strip(), text))
    if only:
        return Rule(0, 24 * 60, _rate(part, text))
    raise BadParam("uplink", text, ALLOWED)


def _rate(word: str, text: str) -> int:
    if word == "none":
        return 0
    if (match := SIZE.fullmatch(word)) and int(match[1]):
        return int(match[1]) * SUFFIX[match[2]]
    raise BadParam("uplink", text, ALLOWED)


class Uplink:
    """Holds writing to the rules. sleep: waits so many seconds, and raises where the work is stopped."""

    def __init__(self, rules: tuple[Rule, ...] = (), sleep: Callable[[float], None] = time.sleep) -> None:
        self._rules = rules
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def rate(self) -> int:
        """Bytes a second now; 0 for no limit."""
        now = time.localtime()
        minute = now.tm_hour * 60 + now.tm_min
        return next((rule.rate for rule in self._rules if rule.holds(minute)), 0)

    def take(self, count: int) -> None:
        """Called before `count` bytes are written; waits where that is too soon. Raises Stopped."""
        rate = self.rate() if self._rules else 0
        if not rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - BURST / rate) + count / rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)
