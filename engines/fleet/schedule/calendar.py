"""When a policy's rounds open and close: by the wall clock of the fleet's zone, on nights with a change of it, too.

A round is called by the date on which its window opens, 2026-11-29, with .1, .2 and so on for more than one a day.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from engines.fleet.config.words import Window

DAY = 86400


@dataclass(frozen=True, order=True)
class StartWindow:
    """One round: from `opens` to before `closes` (Unix time in s) a backup of it may start."""

    opens: float
    closes: float
    name: str


@dataclass(frozen=True)
class Calendar:
    """The rounds of one guest. interval: seconds; phase: which of several days is its own, from 0 on."""

    window: Window
    interval: int
    zone: ZoneInfo
    phase: int = 0

    def latest(self, now: float) -> StartWindow:
        """The round that opened last."""
        day = datetime.fromtimestamp(now, self.zone).date() + timedelta(days=1)
        while True:
            for found in reversed(self._of(day)):
                if found.opens <= now:
                    return found
            day -= timedelta(days=1)

    def after(self, this: StartWindow) -> StartWindow:
        """The next round."""
        day = date.fromisoformat(this.name[:10])
        while True:
            for found in self._of(day):
                if found.opens > this.opens:
                    return found
            day += timedelta(days=1)

    def before(self, this: StartWindow) -> StartWindow:
        """The round before."""
        day = date.fromisoformat(this.name[:10])
        while True:
            for found in reversed(self._of(day)):
                if found.opens < this.opens:
                    return found
            day -= timedelta(days=1)

    def turn(self, now: float) -> StartWindow:
        """The window that opened last in which one may be made: where a guest has a day of several for its own and
        that was missed, the window of any day.
        """
        return self._nightly.latest(now)

    def next_turn(self, this: StartWindow) -> StartWindow:
        """The next of those."""
        return self._nightly.after(this)

    @property
    def _nightly(self) -> Calendar:
        return replace(self, interval=DAY, phase=0) if self.interval > DAY else self

    def _of(self, day: date) -> tuple[StartWindow, ...]:
        return rounds(self.window, self.interval, self.zone, self.phase, day)


@lru_cache(maxsize=4096)
def rounds(window: Window, interval: int, zone: ZoneInfo, phase: int, day: date) -> tuple[StartWindow, ...]:
    """The rounds that open in the window of that date, in their order; none on a day that is not the guest's."""
    if interval >= DAY and (day.toordinal() - phase) % (interval // DAY):
        return ()
    opens, closes = _moments(window, zone, day)
    if interval >= DAY:
        return (StartWindow(opens, closes, day.isoformat()),)
    starts = [opens + step for step in range(0, max(1, int(closes - opens)), interval)]
    ends = [*starts[1:], closes]
    return tuple(
        StartWindow(start, end, f"{day.isoformat()}.{number}")
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    )


def _moments(window: Window, zone: ZoneInfo, day: date) -> tuple[float, float]:
    """When it opens and closes; one that a change of the clock leaves out or turns round is as long as ever."""
    ends = day if window.end > window.start else day + timedelta(days=1)
    opens, closes = _at(day, window.start, zone), _at(ends, window.end, zone)
    return opens, closes if closes > opens else opens + window.minutes * 60


def _at(day: date, minute: int, zone: ZoneInfo) -> float:
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone).timestamp()


@lru_cache(maxsize=65536)
def fraction(text: str) -> float:
    """From 0 to below 1, by a hash: the same for the same text on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def phase(uuid: str, interval: int) -> int:
    """Which of the days of a longer interval is the guest's own."""
    return int(fraction(f"day {uuid}") * (interval // DAY)) if interval >= 2 * DAY else 0
