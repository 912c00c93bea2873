"""How many bytes may be asked for at one time, whoever asks: over a slow line all of them must come within a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Allowance:
    """`most` bytes at a time among any number of threads; who asks for more than that has all of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Within the `with` so many bytes are under way; waits until they may be, in the order of asking."""
        size = min(size, self._most)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
