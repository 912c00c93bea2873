"""Guests, hosts and repositories that somebody told the fleet to leave alone, until they are released."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from engines.fleet.ledger.ledger import Ledger

What = Literal["guest", "host", "repository"]
KEPT = "holds"
SHARED = "holds shared"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. id: a guest's UUID, else the name in fleet.yaml. since: Unix time in s."""

    what: What
    id: str
    name: str
    why: str
    since: float

    @property
    def words(self) -> str:
        """It in words."""
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        return f"{self.what} {self.name} is held since {since}: {self.why}"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Where controllers share them, and the number of the change there that the ledger's are of."""

    where: str
    number: int


def holds(ledger: Ledger) -> list[Hold]:
    """All of them, the oldest first."""
    return ledger.remembered(KEPT, list[Hold]) or []


def seen(ledger: Ledger) -> Seen | None:
    """Of which shared change they are; None where no other controller was ever told of them."""
    return ledger.remembered(SHARED, Seen)


def put(ledger: Ledger, all_: Sequence[Hold], now: float, shared: Seen | None = None) -> None:
    """Have these be all."""
    ledger.remember_all({KEPT: msgspec.to_builtins(list(all_)), SHARED: msgspec.to_builtins(shared)}, now)


def over(all_: Sequence[Hold], *, uuid: str = "", host: str = "", repository: str = "") -> Hold | None:
    """The hold that a job of these falls under."""
    ids = {"guest": uuid, "host": host, "repository": repository}
    return next((hold for hold in all_ if ids[hold.what] and ids[hold.what] == hold.id), None)
