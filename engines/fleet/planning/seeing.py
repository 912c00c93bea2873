"""All hosts asked, guests assigned, and both noted in the ledger: who is where, and which hosts were silent."""

from __future__ import annotations

from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.planning.assigning import Assigned, assign
from engines.fleet.planning.points import called, covered
from engines.fleet.reach import census
from engines.fleet.reach.census import Census

SILENT = "silent"  # hosts that had no answer when they were last asked, in the ledger


def see(fleet: Fleet, ledger: Ledger, now: float) -> tuple[Census, list[Assigned]]:
    """Who is there now, and what is done for them. now: Unix time in s."""
    known = ledger.guests()
    found = census.take(fleet.hosts, known)
    new = {guest.uuid for guest in found.guests} - {one.uuid for one in known}
    tagged = called(fleet, covered(fleet.repositories, whose(ledger))) if new else {}
    assigned = assign(fleet, found.guests, known, tagged)
    ledger.saw([(one.guest, one.vm, one.policy) for one in assigned], now, found.answered)
    ledger.remember(SILENT, found.silent, now)
    return found, assigned


def whose(ledger: Ledger) -> dict[tuple[str, str], str]:
    """By repository and point: the UUID of the guest for which the ledger saw it made."""
    jobs = ledger.newest_good().values()
    return {(job.repository, point): job.uuid for job in jobs for point in job.points}


def silent(fleet: Fleet, ledger: Ledger) -> dict[str, str]:
    """By host of the fleet, why it had no answer when it was last asked."""
    last = ledger.remembered(SILENT, dict[str, str]) or {}
    return {host: why for host, why in last.items() if host in fleet.hosts}
