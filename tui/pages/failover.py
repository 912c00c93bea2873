"""Run pages that show failover as it happens: SYN timelines and the table, or the lights of a site."""

from __future__ import annotations

import time
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Static

from engines.failover.asking.ledger import span
from engines.job.contract import Measured
from engines.job.units import one_line
from tui.pages.run import RunPage, Tail

SHOWN = 6  # timelines on the page, the newest
Cell = tuple[str, str, int, float]


class Readings(RunPage):
    """A run page with a block of readings above its log."""

    def compose(self) -> ComposeResult:
        """As the run page, with the readings where its log begins."""
        yield Static(id="name")
        yield Static(id="stages")
        yield Static(id="bar")
        with Tail():
            yield Static(id="readings", classes="part")
            yield Static(id="log")

    def arrive(self) -> None:
        """Begin with an empty block."""
        self.forget()
        self.show_readings()
        super().arrive()

    def measured(self, event: Measured) -> None:
        """Take a reading in and show it."""
        self.take(event)
        self.show_readings()

    def show_readings(self) -> None:
        """Put the lines on the page."""
        self._put("#readings", "\n".join(map(one_line, self.lines())))

    def forget(self) -> None:
        """Drop what an earlier run left."""
        raise NotImplementedError

    def take(self, event: Measured) -> None:
        """Keep what the lines need."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """The block."""
        raise NotImplementedError


class LabPage(Readings):
    """`A x 0.00 1.02  B x 3.05  page 3.06` for each visit at work, and a row for each that is over."""

    def forget(self) -> None:
        """No visits yet."""
        self.at_work: dict[Cell, dict[str, list[float]]] = {}
        self.over: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def take(self, event: Measured) -> None:
        """A load begins, a SYN leaves, or a visit is over."""
        data = event.data
        cell = (data["client"], data["fault"] or "idle", data["run"], data["idle"])
        if event.kind == "load":
            self.at_work.pop(cell, None)
            self.at_work[cell] = {}
        elif event.kind == "syn" and cell in self.at_work:
            self.at_work[cell].setdefault(data["to"], []).append(data["at"])
        elif event.kind == "seen":
            self.at_work.pop(cell, None)
            self.over.setdefault(cell[:2], []).append(data)

    def lines(self) -> list[str]:
        """The table so far, then the newest timelines."""
        rows = [f"{'client':9} {'fault':12} {'failover':9} {'gap':>6} {'page':>6}"] if self.over else []
        rows += [_row(*key, self.over[key]) for key in sorted(self.over)]
        rows += [""] if self.over and self.at_work else []
        for (client, fault, run, _), knocks in list(self.at_work.items())[-SHOWN:]:
            rows.append(f"{client} {fault} {run}: {_knocks(knocks)}")
        return rows


def _row(client: str, fault: str, seen: list[dict[str, Any]]) -> str:
    last = seen[-1]
    words = {"moved": "yes", "waiting": "not yet", "error": "error", "stayed": "stays", "oneshot": "as new"}
    gap = "-" if last["gap"] is None else f"{last['gap']:.2f}"
    page = f"{last['seconds']:.2f}" if last["outcome"] == "moved" else "-"
    return f"{client:9.9} {fault:12.12} {words.get(last['outcome'], last['outcome']):9} {gap:>6} {page:>6}"


def _knocks(knocks: dict[str, list[float]]) -> str:
    if not knocks:
        return "no SYN yet"
    parts = []
    for letter, times in sorted(knocks.items()):
        shown = [*times[:1], *times[1:][-3:]]
        skipped = " .." if len(times) > len(shown) else ""
        parts.append(f"{letter} {shown[0]:.2f}{skipped}" + "".join(f" {at:.2f}" for at in shown[1:]))
    return "  ".join(parts)


class WatchPage(Readings):
    """A light an address, how long it has been so, and how long it was dark in all: every second, not every look."""

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(1.0, self._count)

    def _count(self) -> None:
        if self.following is not None and self.data and self.is_on_screen:
            self.show_readings()

    def forget(self) -> None:
        """Nothing seen yet."""
        self.data: dict[str, Any] = {}

    def take(self, event: Measured) -> None:
        """The newest reading tells all."""
        self.data = event.data

    def lines(self) -> list[str]:
        """The verdict, then the lights."""
        if not self.data:
            return []
        now = getattr(self.app, "clock", time.time)()
        rows = [self.data["verdict"], ""]
        for light in self.data["addresses"]:
            mark = "[--]" if light["dark"] else "[ok]" if light["state"] == "ok" else "[  ]"
            since = span(max(0.0, now - light["since"]))
            rows.append(
                f"{mark} {light['address']:15} {light['state']} for {since}, dark {self._dark(light, now)} in all"
            )
        rows += [f"and {self.data['more']} more that answer"] if self.data["more"] else []
        return [*rows, f"the whole site: dark {self._dark(self.data, now)} in all"]

    def _dark(self, counted: dict[str, Any], now: float) -> str:
        """An outage as it stands now: one that goes on has grown since the reading."""
        return span(counted["outage"] + (max(0.0, now - self.data["at"]) if counted["dark"] else 0.0))
