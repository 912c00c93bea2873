"""How many runs a host bears at once: locks that the runs inherit, so that they count for as long as they live."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engines.job import folders
from engines.job.errors import Refused


@contextmanager
def slot(count: int) -> Iterator[int | None]:
    """The descriptor of one of `count` slots, or None where all are taken; a run that inherits it keeps it."""
    descriptor = next(_free(count), None)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def taken(count: int) -> int:
    """How many of them are."""
    free = list(_free(count))
    for descriptor in free:
        os.close(descriptor)
    return count - len(free)


def _free(count: int) -> Iterator[int]:
    """Locked descriptors of free slots."""
    folder = folders.state("slots")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(count):
            path = folder / f"{number}.lock"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            yield descriptor
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}", "make room or set XDG_STATE_HOME there") from None
