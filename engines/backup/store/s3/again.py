"""When a request is made again: after a pause that grows, while there is patience left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from engines.backup.store.s3.client import LONGEST_PAUSE

T = TypeVar("T")


class Tries:
    """What is left of `patience`, in seconds from now on."""

    def __init__(self, patience: float) -> None:
        self._end = time.monotonic() + patience
        self._pause = 0.1

    def over(self) -> bool:
        """Whether there is none left."""
        return time.monotonic() > self._end

    def wait(self) -> None:
        """The pause before the next."""
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` gives. Raises TimeoutError, and leaves it behind, where it does not end in that time."""
    given: list[T] = []
    raised: list[BaseException] = []

    def doing() -> None:
        try:
            given.append(work())
        except BaseException as error:  # noqa: BLE001  it is whoever waits who has to see it
            raised.append(error)

    thread = threading.Thread(target=doing, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not given:
        raise TimeoutError
    return given[0]
