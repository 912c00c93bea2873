"""A whole tree out of an appliance as one tar stream: the quick way for many files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

COPY = 1 << 20  # bytes


class Writes(Protocol):
    """Where a tar goes."""

    def write(self, data: bytes, /) -> object:
        """Take some of it."""
        ...


def through_pipe(folder: Path, archive: Callable[[bytes], object], stream: Writes) -> None:
    """Copy to `stream` what `archive` writes to a named pipe in `folder`. Raises what `archive` raises."""
    pipe = folder / f"tar-{os.urandom(4).hex()}"
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    holder = os.open(pipe, os.O_WRONLY)  # no end of file before the call has ended, however it ends
    os.set_blocking(reader, True)
    trouble: list[BaseException] = []

    def write() -> None:
        try:
            archive(bytes(pipe))
        except BaseException as error:  # noqa: BLE001  raised again in the thread that reads
            trouble.append(error)
        finally:
            os.close(holder)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        while data := os.read(reader, COPY):
            stream.write(data)
    finally:
        os.close(reader)
        thread.join()
        pipe.unlink()
    if trouble:
        raise trouble[0]
