"""The morning's look: hosts asked or remembered, repositories read, and from both how every guest stands."""

from __future__ import annotations

from collections.abc import Container, Sequence

import msgspec

from engines.fleet.agent.holding import Holding
from engines.fleet.config import words
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.holds import Hold, over
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Known
from engines.fleet.morning import holdings
from engines.fleet.morning.standing import Row, Standing, Stored, rows
from engines.fleet.planning import agreed
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.seeing import see, silent
from engines.fleet.planning.wanted import AHEAD
from engines.job import units

EMPTIED = (
    "host {0} answers and shows no guest; it had {1}: see to it, and to its `connect` and `find` in fleet.yaml; where"
    " that is meant, take the host out there, or: crashcart fleet hold host:{0} --why TEXT"
)


def look(fleet: Fleet, ledger: Ledger, now: float, *, ask: bool = True) -> Standing:
    """How all stand. ask: hosts for their guests; else, or where one is silent, they are as they were last seen,
    and silent are those that were so then.
    """
    if ask or not ledger.guests():
        see(fleet, ledger, now)
    known = ledger.guests()
    dark = silent(fleet, ledger)
    proofs = ledger.newest_tried("prove", now + AHEAD)
    there = [one.guest for one in known if one.gone is None]
    held = holdings.take(fleet)
    resting = agreed.known(fleet, ledger, now)
    found = rows(fleet, assign(fleet, there, known), known, held, ledger.newest(until=now + AHEAD), now, dark, proofs)
    return Standing(
        at=now,
        rows=tuple(_resting(row, resting.held) for row in found),
        repositories=tuple(_stored(fleet, name, held, ledger, now) for name in fleet.repositories),
        silent=dark,
        emptied=emptied(fleet, known, dark, resting.held),
        held=resting.words,
        unsure=resting.trouble,
    )


def emptied(fleet: Fleet, known: Sequence[Known], dark: Container[str], held: Sequence[Hold]) -> dict[str, str]:
    """By host that answers, shows no guest, and is not held: how many it had, and what helps.

    A guest that moved is its new host's.
    """
    found: dict[str, str] = {}
    for host in fleet.hosts:
        own = [one for one in known if one.host == host]
        had = sum(bool(one.policy) for one in own)  # not scratch, which is skipped and comes and goes
        if had and all(one.gone is not None for one in own) and host not in dark and over(held, host=host) is None:
            found[host] = EMPTIED.format(host, had)
    return found


def _resting(row: Row, held: Sequence[Hold]) -> Row:
    """With the hold that it is under, whatever its light is: it gets no younger point until it is released."""
    hold = over(held, uuid=row.uuid, host=row.host)
    if hold is None or row.light in ("skipped", "gone"):
        return row
    return msgspec.structs.replace(row, why="; ".join(filter(None, (hold.words, row.why))))


def _stored(fleet: Fleet, name: str, held: holdings.Holdings, ledger: Ledger, now: float) -> Stored:
    holding = held.held.get(name, Holding())
    gc, verified = (ledger.newest_good(kind).get(("", name)) for kind in ("gc", "verify"))
    return Stored(
        name=name,
        url=fleet.repositories[name].url,
        bytes=holding.bytes,
        free=holding.free,
        gc=gc.ended if gc else None,
        verified=verified.ended if verified else None,
        trouble=held.silent.get(name, ""),
        tight=_tight(holding, ledger.stored(name, now - words.DAY)),
    )


def _tight(holding: Holding, brought: int) -> str:
    """Whether another day like the last would not fit. brought: bytes."""
    if holding.free is None or holding.free > brought:
        return ""
    return f"{units.size(holding.free)} are free, and the last day brought {units.size(brought)}"
