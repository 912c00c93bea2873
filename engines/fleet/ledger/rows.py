"""The rows of the ledger as structs."""

from __future__ import annotations

from typing import Literal

import msgspec

from engines.backup.guests.model import Guest

Kind = Literal["backup", "prune", "gc", "verify", "lock", "prove"]
State = Literal["waiting", "running", "done", "warned", "failed", "refused", "missed"]
ENDED: tuple[State, ...] = ("done", "warned", "failed", "refused", "missed")
GOOD: tuple[State, ...] = ("done", "warned")
TRIED: tuple[State, ...] = (*GOOD, "failed", "refused")  # what says something of the guest


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that was seen. vm: its name in repositories, which stays when it is renamed. Unix times in s.

    gone: since when its host does not show it any more and no other does; None while it is there.
    """

    uuid: str
    vm: str
    name: str
    host: str
    policy: str
    first: float
    seen: float
    gone: float | None
    guest: Guest


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work of a round: a guest into a repository, or the upkeep of one (uuid empty).

    key: KIND/ROUND/UUID/REPOSITORY, the same for every try, so that it is done once.
    state: waiting (also for its next try), running, done, warned, failed (no try is left), refused, missed (the round
    ended before its turn). tries: that ended badly. not_before, planned, started, ended: Unix time in s.
    run: the run on the host. read, changed, stored: bytes.
    """

    key: str
    round: str
    kind: Kind
    uuid: str
    vm: str
    host: str
    repository: str
    policy: str = ""
    disks: tuple[str, ...] = ()
    state: State = "waiting"
    tries: int = 0
    not_before: float = 0.0
    planned: float = 0.0
    started: float | None = None
    ended: float | None = None
    run: str = ""
    why: str = ""
    what_helps: str = ""
    warnings: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    read: int = 0
    changed: int = 0
    stored: int = 0


def key(kind: Kind, round_: str, uuid: str, repository: str) -> str:
    """The key of a job."""
    return f"{kind}/{round_}/{uuid or '-'}/{repository}"
