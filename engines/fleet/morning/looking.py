"""The morning's look: hosts asked or remembered, repositories read, and from both how every guest stands."""

from __future__ import annotations

from engines.fleet.agent.holding import Holding
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.morning import holdings
from engines.fleet.morning.standing import Standing, Stored, rows
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.seeing import see, silent


def look(fleet: Fleet, ledger: Ledger, now: float, *, ask: bool = True) -> Standing:
    """How all stand. ask: hosts for their guests; else, or where one is silent, they are as they were last seen,
    and silent are those that were so then.
    """
    if ask or not ledger.guests():
        see(fleet, ledger, now)
    known = ledger.guests()
    there = [one.guest for one in known if one.gone is None]
    held = holdings.take(fleet)
    return Standing(
        at=now,
        rows=rows(fleet, assign(fleet, there, known), known, held, ledger.newest(), now),
        repositories=tuple(_stored(fleet, name, held, ledger) for name in fleet.repositories),
        silent=silent(fleet, ledger),
    )


def _stored(fleet: Fleet, name: str, held: holdings.Holdings, ledger: Ledger) -> Stored:
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
    )
