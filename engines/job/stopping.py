"""How a run is stopped, and what must not stop it: signals become a request, a lost line is nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from engines.job.contract import Cancel
from engines.job.errors import Stopped


@dataclass
class Stop:
    """A stop request that waits while a step cannot be stopped."""

    cancel: Cancel = field(default_factory=Cancel)
    wanted: bool = False
    held_by: str = ""

    def ask(self) -> None:
        """Ask for a stop: now where the step allows it, else once it has ended."""
        self.wanted = True
        if not self.held_by:
            self.cancel.set()

    @property
    def unheard(self) -> bool:
        """Whether a stop was asked for that the work may take, and has not seen: it waits for the kernel."""
        return self.wanted and not self.held_by and not self.cancel.heard

    def enter(self, no_stop: str) -> None:
        """A step begins that, where `no_stop` is not empty, cannot be stopped."""
        self.held_by = no_stop
        if self.wanted and not no_stop:
            self.cancel.set()


@contextmanager
def outliving(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM ask for a stop, a second one ends what waits in the kernel; a lost line (SIGHUP, SIGPIPE) does
    not touch the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(_number: int, _frame: FrameType | None) -> None:
        if stop.unheard:
            raise Stopped()  # out of the system call that the first one could not end
        stop.ask()

    handlers: dict[int, Any] = {signal.SIGINT: asked, signal.SIGTERM: asked}
    handlers |= {signal.SIGHUP: signal.SIG_IGN, signal.SIGPIPE: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
