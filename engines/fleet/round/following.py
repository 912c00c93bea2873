"""One job on its host, from the first request to its end, over as many connections as it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import msgspec

from engines.fleet.agent import wire
from engines.fleet.config.model import Host
from engines.fleet.reach import ssh
from engines.job.jobfile import Job

PATIENCE = 900.0  # s that a host may be away before that counts as a try that failed
LONGEST_WAIT = 30.0  # s between two tries to reach it


@dataclass(frozen=True)
class Lost:
    """The host was away for too long, or the controller was stopped; what it does is not known."""

    why: str


Outcome = wire.Ended | wire.Busy | wire.Declined | Lost
Tell = Callable[[wire.Begun | wire.Progressed], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job to be done on a host. words: its job file; None where it can only be followed.

    started: whether an earlier controller, or connection, started it. patience: s that the host may be away, or its
    agent be silent. words_within: s until the first word of the agent, and until each next one.
    """

    name: str
    host: Host
    key: str
    words: Job | None
    started: bool
    patience: float = PATIENCE
    words_within: tuple[float, float] = ssh.RUNS


class Following:
    """An order being carried out."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.started = order.started
        self.held = ssh.Connections()
        self.stopped = threading.Event()

    def let_go(self) -> None:
        """From another thread: follow it no longer. On its host it goes on."""
        self.stopped.set()
        self.held.cut()

    def outcome(self, tell: Tell) -> Outcome:
        """Start it, or follow it, to its end; a lost connection is made again, which never starts it twice."""
        order = self.order
        away: float | None = None
        wait = 0.5
        while True:
            try:
                last = None
                first, next_ = order.words_within
                asked = ssh.ask(order.name, order.host, self._request(), self.held, first, next_)
                with closing(asked) as answers:
                    for last in answers:
                        if isinstance(last, wire.Alive) or (isinstance(last, wire.Begun) and last.new):
                            away, wait = None, 0.5  # one that says who runs, and then no more, is away all the same
                        if isinstance(last, wire.Begun | wire.Progressed):
                            self.started = True
                            tell(last)
                if isinstance(last, wire.Ended | wire.Busy):
                    return last
                if not isinstance(last, wire.Declined):
                    return Lost(f"host {order.name} said no end")
                if not self.started or order.words is None:
                    return last
                self.started = False  # it never came to a run there
            except ssh.Unreachable as error:
                away = away or time.monotonic()
                if self.stopped.is_set() or time.monotonic() - away > order.patience:
                    return Lost(str(error))
                self.stopped.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT)
            if self.stopped.is_set():
                return Lost("the controller was stopped")

    def _request(self) -> wire.Start | wire.Attach:
        order = self.order
        if self.started or order.words is None:
            return wire.Attach(key=order.key)
        return wire.Start(key=order.key, job=order.words, slots=order.host.slots)
