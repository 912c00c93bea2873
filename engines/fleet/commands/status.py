"""fleet status: a line a guest with its light, the worst first, by what the repositories hold."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from engines.backup.commands.lines import columns
from engines.fleet.commands.params import FleetParams, nobody
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.morning.looking import look
from engines.fleet.morning.night import flat, headline
from engines.fleet.morning.standing import BAD, Standing
from engines.job.params import param
from engines.job.units import one_line

TROUBLE = 4  # exit code


class StatusParams(FleetParams, frozen=True, kw_only=True):
    """Which guests, and whether hosts are asked."""

    only: Annotated[str, param("Only", "guests of such names, like 'web*'")] = ""
    bad: Annotated[bool, param("Bad", "only those that somebody must see to")] = False
    known: Annotated[bool, param("Known", "guests as they were last seen; no host is asked, repositories are")] = False


def answer(params: StatusParams) -> Standing:
    """Look. Raises Refused."""
    fleet = params.read()
    with Ledger(place(fleet)) as ledger:
        standing = look(fleet, ledger, time.time(), ask=not params.known)
    if missing := nobody(params.only, [row.name for row in standing.rows]):
        raise missing
    rows = tuple(
        row
        for row in standing.rows
        if (not params.only or fnmatchcase(row.name, params.only)) and (not params.bad or row.light in BAD)
    )
    return msgspec.structs.replace(standing, rows=rows)


def table(standing: Standing) -> str:
    """In lines."""
    lines = [headline(standing), *columns(flat(standing.rows))]
    lines += [f"! host {host} had no answer: {why}" for host, why in standing.silent.items()]
    lines += [f"! repository {one.name} was not read: {one.trouble}" for one in standing.repositories if one.trouble]
    lines += [f"! {words}" for words in (*standing.emptied.values(), *standing.held)]
    lines += [f"! repository {one.name} is nearly full: {one.tight}" for one in standing.repositories if one.tight]
    lines += [f"{row.name}: {row.what_helps}" for row in standing.rows if row.light in BAD and row.what_helps]
    return "\n".join(map(one_line, lines))


def code(standing: Standing) -> int:
    """4 where somebody must look, else 0."""
    return TROUBLE if standing.bad or any(one.trouble for one in standing.repositories) else 0
