"""The ledger of a watch: what each address has been through, which does not grow with the watch's length."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.failover.asking.address import UNJUDGED, WORDS, AddressCheck

KEPT = 64  # addresses that have left DNS but stay in the ledger
SHOWN = 32  # addresses in one reading; the ledger in the report has all
GONE = "gone"
WELL = ("ok", *UNJUDGED, GONE)
"""States that count as no outage, but for an address that answered before and now wants a client certificate."""
TAIL = 200  # changes kept for the report; watch.log holds all


@dataclass
class Spell:
    """One address: its state and since when (Unix time), and what it has been through so far; `answered`: ever ok."""

    state: str
    since: float
    first_down: float = 0.0
    last_back: float = 0.0
    down: float = 0.0
    changes: int = 0
    answered: bool = False

    @property
    def dark(self) -> bool:
        """Whether it counts as down: not while it is unjudged or not in DNS at all."""
        return self._is_dark(self.state)

    def _is_dark(self, state: str) -> bool:
        return state not in WELL or (state == "client-cert" and self.answered)

    def take(self, state: str, now: float) -> float | None:
        """The next look; seconds that the previous state lasted where it changes."""
        if state == self.state:
            self.answered = self.answered or state == "ok"
            return None
        lasted, dark = now - self.since, self.dark
        self.answered = self.answered or state == "ok"  # what came before the first answer was no outage
        if dark:
            self.down += lasted
        if state == "ok" and dark:
            self.last_back = now
        elif self._is_dark(state) and not dark and not self.first_down:
            self.first_down = now
        self.state, self.since = state, now
        self.changes += 1
        return lasted

    def outage(self, now: float) -> float:
        """Seconds it was not well, this state included."""
        return self.down + (now - self.since if self.dark else 0.0)


@dataclass
class Watching:
    """Everything a watch keeps, which does not grow with its length."""

    began: float
    spells: dict[str, Spell] = field(default_factory=dict)
    changes: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    looks: int = 0
    dark: float = 0.0
    dark_since: float = 0.0

    def take(self, lights: Sequence[AddressCheck], now: float) -> Iterator[str]:
        """One look at every address that is in DNS now; a line for each change."""
        self.looks += 1
        for light in lights:
            spell = self.spells.get(light.address)
            if spell is None:
                first_down = 0.0 if light.state in WELL else now
                self.spells[light.address] = Spell(light.state, now, first_down, answered=light.state == "ok")
                yield f"{light.address}: {light.said()}"
            elif (lasted := spell.take(light.state, now)) is not None:
                yield f"{light.address}: {light.said()} (the state before lasted {span(lasted)})"
        if any(light.state not in UNJUDGED or self.spells[light.address].dark for light in lights):
            yield from self._whole(any(light.state == "ok" for light in lights), now)

    def _whole(self, up: bool, now: float) -> Iterator[str]:
        if not up and not self.dark_since:
            self.dark_since = now
            yield "no address answers: the site is down"
        elif up and self.dark_since:
            lasted = now - self.dark_since
            self.dark, self.dark_since = self.dark + lasted, 0.0
            yield f"the site is back after {span(lasted)}"

    def forget(self, current: Collection[str], now: float) -> None:
        """Of addresses that are no longer in DNS keep at most KEPT: a name that moves all day costs no memory."""
        gone = [address for address in self.spells if address not in current]
        for address in gone:  # what nobody is sent to any more is no outage
            self.spells[address].take(GONE, now)
        for address in gone[: max(0, len(gone) - KEPT)]:
            del self.spells[address]

    def outage(self, now: float) -> float:
        """Seconds without any address that answered."""
        return self.dark + (now - self.dark_since if self.dark_since else 0.0)

    def reading(self, now: float) -> dict[str, Any]:
        """For the live page: at most SHOWN addresses, dark ones first."""
        shown = sorted(self.spells.items(), key=lambda one: not one[1].dark)[:SHOWN]
        return {
            "addresses": [
                {
                    "address": address,
                    "state": spell.state,
                    "dark": spell.dark,
                    "words": WORDS[spell.state],
                    "since": round(spell.since, 3),
                    "outage": round(spell.outage(now), 1),
                    "changes": spell.changes,
                }
                for address, spell in shown
            ],
            "more": len(self.spells) - len(shown),
            "outage": round(self.outage(now), 1),
            "dark": bool(self.dark_since),
            "at": round(now, 3),
            "looks": self.looks,
        }


def brief(watching: Watching, now: float) -> str:
    """Its addresses in 50 columns, for a screen."""
    shown = list(watching.spells.items())[:SHOWN]
    lines = [f"{address:15} {spell.state}, dark {span(spell.outage(now))} in all" for address, spell in shown]
    more = len(watching.spells) - len(shown)
    return "\n".join(lines + ([f"and {more} more"] if more else []))


def ledger(watching: Watching, now: float) -> list[str]:
    """Its addresses for the report."""
    lines = [f"{'address':40} {'now':14} {'outage':>10} {'changes':>8}  first down, last back"]
    for address, spell in watching.spells.items():
        times = ", ".join(clock(at) if at else "-" for at in (spell.first_down, spell.last_back))
        lines.append(f"{address:40} {spell.state:14} {span(spell.outage(now)):>10} {spell.changes:8}  {times}")
    return lines


def span(seconds: float) -> str:
    """`3.2 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def clock(at: float) -> str:
    """A time of today, UTC."""
    return time.strftime("%H:%M:%SZ", time.gmtime(at))
