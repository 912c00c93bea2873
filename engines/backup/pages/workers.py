"""A few threads that take work from one iterator, with no queue between; the first error ends them all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from engines.backup.pages.memory import keep_buffers

T = TypeVar("T")
TICK = 0.1  # s between looks at the threads
THREADS = 4  # more than these only wait for the disk


def worker_count() -> int:
    """How many threads are worth it here."""
    return max(2, min(os.cpu_count() or 2, THREADS))


class Workers(Generic[T]):
    """Calls `work` with every item; `finished` is set when all threads have ended. `threads`: 0 for `hands()`."""

    def __init__(self, items: Iterator[T], work: Callable[[T], None], threads: int = 0) -> None:
        self._items = items
        self._work = work
        self._lock = threading.Lock()
        self._stop = False
        self._live = threads or worker_count()
        self.error: BaseException | None = None
        self.finished = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._live)]

    def start(self) -> None:
        """Begin."""
        keep_buffers()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have the threads end and wait for them."""
        self._stop = True
        for thread in self._threads:
            thread.join()

    def ticks(self) -> Generator[None, None, None]:
        """From the start to the end of the work, one every `TICK`; the threads have ended however it is left."""
        self.start()
        try:
            while not self.wait(TICK):
                yield
        except BaseException:
            self.stop()
            raise

    def _run(self) -> None:
        try:
            while not self._stop:
                with self._lock:
                    item = next(self._items, None)
                if item is None:
                    return
                self._work(item)
        except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
            self.error = self.error or error
            self._stop = True
        finally:
            with self._lock:
                self._live -= 1
                if self._live == 0:
                    self.finished.set()

    def wait(self, seconds: float) -> bool:
        """Whether all is done within that time. Raises what a thread raised."""
        done = self.finished.wait(seconds)
        if done and self.error is not None:
            raise self.error
        return done
