"""fleet guests: every guest of every host, its policy, and who has no backup and why."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec

from engines.backup.commands.lines import columns
from engines.fleet.commands.params import FleetParams
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.planning.assigning import Assigned
from engines.fleet.planning.seeing import see
from engines.job.params import param
from engines.job.units import one_line

UNCOVERED = 4  # exit code


class GuestsParams(FleetParams, frozen=True, kw_only=True):
    """Which of them."""

    uncovered: Annotated[bool, param("Uncovered", "only those that have no backup, or not of every disk")] = False


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The guests. silent: by host, why it had no answer. gone: names of guests that no host shows any more."""

    guests: list[Assigned]
    silent: dict[str, str] = {}
    gone: list[str] = []


def answer(params: GuestsParams) -> Listed:
    """Ask all hosts, and note in the ledger who was seen. Raises Refused."""
    fleet = params.read()
    with Ledger(place(fleet)) as ledger:
        found, assigned = see(fleet, ledger, time.time())
        gone = [known.name for known in ledger.guests() if known.gone is not None]
    shown = [one for one in assigned if not params.uncovered or one.why]
    return Listed(guests=shown, silent=found.silent, gone=gone)


def table(listed: Listed) -> str:
    """A line a guest."""
    rows = [("guest", "host", "policy", "disks", "not backed up, because")]
    for one in listed.guests:
        skipped = "(meant) " if one.skipped else ""
        disks = f"{len(one.disks)} of {len(one.guest.disks)}"
        rows.append((one.guest.name, one.guest.host, one.policy or "-", disks, f"{skipped}{one.why}"))
    lines = list(columns(rows))
    lines += [f"! host {host} was not seen: {why}" for host, why in listed.silent.items()]
    lines += [f"! {name} is gone: its points are kept" for name in listed.gone]
    return "\n".join(map(one_line, lines))


def code(listed: Listed) -> int:
    """4 where somebody has no backup and that is not meant, or a host was not seen."""
    return UNCOVERED if listed.silent or any(one.why and not one.skipped for one in listed.guests) else 0
