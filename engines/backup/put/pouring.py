"""A pax archive poured into the appliance as it is made: nothing of it lies on this machine's disk."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engines.guest.appliance import PATIENCE, Appliance

SLOWEST = 1 << 20  # bytes a second that even an emulated machine takes


class Pouring:
    """`write` the archive within the `with`; at its end everything is unpacked below the mounted volume's root.

    Raises GuestError with tar's own words, Stopped.
    """

    def __init__(self, appliance: Appliance, folder: Path, total: int) -> None:
        self._pipe = folder / "archive"
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pouring")
        carries = {"xattrs": True, "selinux": True}
        within = PATIENCE + total / SLOWEST
        self._done: Future[Any] = self._pool.submit(
            appliance.call, "tar_in", str(self._pipe), "/", within=within, **carries
        )
        self._descriptor = -1

    def __enter__(self) -> Self:
        while self._descriptor < 0:
            try:
                self._descriptor = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:  # nobody reads yet
                if self._done.done():
                    self._finish()
                time.sleep(0.01)
        os.set_blocking(self._descriptor, True)
        return self

    def write(self, content: bytes) -> None:
        """The archive's next bytes."""
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BrokenPipeError:
            self._finish()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if kind is None:
            self._finish()
        self._pool.shutdown()
        self._pipe.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Wait for the end of the call; raises what it raised."""
        self._done.result()
