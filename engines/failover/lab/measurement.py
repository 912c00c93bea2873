"""One measurement in namespaces of its own, as a process: its order on stdin, JSON lines on stdout."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from engines.failover.faults import FAULTS, Fault
from engines.failover.lab import authority, namespaces, testbed
from engines.failover.lab.syn_capture import Syn, Tap, Tcpdump, gap
from engines.failover.visitors.clients import catalogue
from engines.failover.visitors.visit import Setting, Trust, Visit, Visitor

NAME = "shop.test"  # RFC 6761: no real name, and browsers do not try https first
FIRST = 60.0  # s; a load with nothing wrong


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell measures. Seconds: `cap` for the wait, `patience` before a reload, `idle` between two loads.

    `fault` is a key of FAULTS, or empty for a visit that only comes back after `idle`.
    """

    client: str
    fault: str
    run: int
    letters: str
    cap: float
    patience: float
    sysctls: dict[str, int]
    scratch: str
    idle: float = 0.0
    witness: bool = False
    https: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Seconds count from the start of the load; `syns` are (seconds, copy).

    outcome: moved (page from a live copy), stayed (page from a dead one), error, waiting (not within the cap),
    oneshot (it opens a new connection for every load), broken (the client did not start), back (idle).
    gap: from the first SYN to the first address to the first SYN to the last, by our own tap and by tcpdump.
    """

    client: str
    fault: str
    run: int
    outcome: str
    seconds: float | None = None
    letter: str = ""
    error: str = ""
    gap: float | None = None
    gap_tcpdump: float | None = None
    syns: tuple[tuple[float, str], ...] = ()
    reloads: int = 0
    last_load: float | None = None
    idle: float = 0.0
    first: str = ""
    asked_again: bool = False


_say_lock = threading.Lock()


def say(**what: Any) -> None:
    """One line to the lab."""
    with _say_lock:
        os.write(1, msgspec.json.encode(what) + b"\n")


class CellRun:
    """The measurement."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.letters = {testbed.ADDRESSES[letter]: letter for letter in order.letters}
        self.syns: list[Syn] = []
        self.began = 0.0

    def measure(self) -> Seen:
        """Build the world, send the client, say what was seen."""
        order = self.order
        namespaces.furnish(Path(order.scratch), testbed.ROUTER)
        paper = authority.issued(Path(order.scratch), NAME) if order.https else None
        site = testbed.Site(NAME, order.letters, paper=paper)
        self.control, _ = testbed.build(site, namespaces.new_network)
        threading.Thread(target=_end_with_parent, daemon=True).start()  # not before the fork
        namespaces.set_sysctls(order.sysctls)
        tap = Tap("near", site.port, self._hear)
        tap.start()
        dump = Tcpdump("near", site.port) if order.witness else None
        url = f"{'https' if paper else 'http'}://{NAME}/"
        visitor = catalogue()[order.client].visitor(Setting(Path(order.scratch), url, self._mark, _trust(paper)))
        try:
            visitor.open()
        except (RuntimeError, OSError) as error:
            return Seen(client=order.client, fault=order.fault, run=order.run, outcome="broken", error=str(error))
        try:
            seen = self._visit(visitor)
        finally:
            visitor.close()
        time.sleep(0.05)  # the tap's last packet
        tap.close()
        return self._with_timeline(seen, dump.close() if dump else None)

    def _mark(self, at: float) -> None:
        self.began = at
        say(event="load", at=at)

    def _hear(self, syn: Syn) -> None:
        self.syns.append(syn)
        if self.began:
            say(event="syn", at=round(syn.at - self.began, 3), to=self.letters.get(syn.address, syn.address))

    def _strike(self, fault: Fault) -> None:
        """All copies but the last go dark."""
        self.control.order(do="fault", rule=fault.rule, mode=fault.mode, letters=self.order.letters[:-1])

    def _visit(self, visitor: Visitor) -> Seen:
        order = self.order
        if not order.fault:
            return self._return(visitor)
        fault = FAULTS[order.fault]
        if fault.within:
            return self._within(visitor, fault)
        self._strike(fault)
        visit = visitor.visit(order.cap)
        self.began = visit.began
        return self._told(visit)

    def _told(self, visit: Visit, **more: Any) -> Seen:
        outcome = "waiting" if visit.waiting else "error" if visit.error else "moved"
        if outcome == "moved" and visit.letter != self.order.letters[-1]:
            outcome = "stayed"
        return Seen(
            client=self.order.client,
            fault=self.order.fault,
            run=self.order.run,
            outcome=outcome,
            letter=visit.letter,
            error=visit.error,
            **{"seconds": visit.seconds} | more,
        )

    def _first(self, visitor: Visitor) -> Visit:
        visit = visitor.visit(FIRST)
        if not visit.letter:
            raise RuntimeError(f"the first load, with nothing wrong, showed no page: {visit.error or 'none in time'}")
        return visit

    def _within(self, visitor: Visitor, fault: Fault) -> Seen:
        """The visitor reads a page, the copy goes dark, the visitor clicks, and reloads when patience is over."""
        order = self.order
        if not visitor.lasting:
            return Seen(client=order.client, fault=order.fault, run=order.run, outcome="oneshot")
        self._first(visitor)
        time.sleep(0.5)  # let it finish what it does beside the page
        self._strike(fault)
        click = visitor.visit(min(order.patience, order.cap))
        visit, reloads = click, 0
        while not visit.letter and visit.began + visit.seconds < click.began + order.cap:
            left = click.began + order.cap - time.time()
            visit = visitor.reload(max(1.0, min(order.patience, left)))
            reloads += 1
        self.began = click.began
        total = round(visit.began + visit.seconds - click.began, 3)
        return self._told(visit, seconds=total, reloads=reloads, last_load=visit.seconds)

    def _return(self, visitor: Visitor) -> Seen:
        """The visitor comes back after a while, and by then the order of the records has turned."""
        order = self.order
        first = self._first(visitor)
        before = self.control.order(do="turn")
        time.sleep(order.idle)
        again = visitor.visit(FIRST)
        after = self.control.order(do="look")
        self.began = again.began
        seen = self._told(again, idle=order.idle, first=first.letter, asked_again=after["asked"] > before["asked"])
        return msgspec.structs.replace(seen, outcome="back" if again.letter else seen.outcome)

    def _with_timeline(self, seen: Seen, dumped: list[Syn] | None) -> Seen:
        begun = self.began - 0.01  # s; the client's own clock reading may come a moment after its first packet
        first, last = (testbed.ADDRESSES[self.order.letters[at]] for at in (0, -1))
        syns = tuple((round(s.at - self.began, 3), self.letters[s.address]) for s in self.syns if s.at >= begun)
        other = gap(dumped, first, last, begun) if dumped is not None else None
        return msgspec.structs.replace(seen, syns=syns, gap=gap(self.syns, first, last, begun), gap_tcpdump=other)


def _trust(paper: authority.Paper | None) -> Trust | None:
    return Trust(str(paper.ca), str(paper.java), authority.JAVA, paper.pin) if paper else None


def _end_with_parent() -> None:
    """The lab holds our stdin open; when it is gone, so is this process, and with it the namespaces."""
    while sys.stdin.buffer.readline():
        continue
    os._exit(1)


def main() -> int:
    """Measure what the first line of stdin orders."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    cell = CellRun(order)
    try:
        seen = cell.measure()
    except (RuntimeError, OSError) as error:
        seen = Seen(client=order.client, fault=order.fault, run=order.run, outcome="broken", error=str(error))
    say(event="seen", seen=seen)
    os._exit(0)  # the last process of the namespace: everything in it ends here


if __name__ == "__main__":
    raise SystemExit(main())
