"""One gc at a time, also of several machines that begin in the same moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from engines.backup.repository import sessions
from engines.backup.repository.sessions import Presence
from engines.backup.store.store import Store
from engines.job.errors import Failed, Refused

NAME = "leases/gc.json"
LONGEST = 4096  # bytes


@contextmanager
def held(store: Store, presence: Presence) -> Iterator[None]:
    """Within it this gc is the only one. Raises Refused where another is at work."""
    for session in sessions.living(store):
        if session.kind == "gc" and session.id != presence.session.id:
            raise _busy(session.explained(alive=True))
    ours = presence.session.id.encode()
    other = store.lease(NAME, ours, lambda holder: not _alive(store, holder))
    if other:
        known = [session for session in sessions.living(store) if session.id.encode() == other]
        raise _busy(known[0].explained(alive=True) if known else "another gc is at work")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # whoever comes next finds that its session is gone
            if store.read(NAME, 0, LONGEST) == ours:
                store.delete(NAME)


def _alive(store: Store, holder: bytes) -> bool:
    return any(session.id.encode() == holder for session in sessions.living(store))


def demand(store: Store, presence: Presence) -> None:
    """Before anything is deleted: it is still ours. Raises Failed where this process was taken for dead."""
    ours = presence.session.id.encode()
    if store.lease(NAME, ours, lambda _: False):
        raise Failed(
            "this gc stood still for so long that another took its place", "nothing was deleted by it; look at that one"
        )


def _busy(who: str) -> Refused:
    return Refused(who, "wait for it to end")
