"""Who is told what of a round: one notice a night, and each change for the worse, or back, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from engines.fleet.config import words
from engines.fleet.config.model import Alert
from engines.fleet.morning.night import headline
from engines.fleet.morning.standing import Light, Row, Standing
from engines.job import units

Severity = Literal["failed", "late", "uncovered", "gone", "warned", "good"]
OF: dict[Light, Severity] = {
    "failed": "failed", "late": "late", "uncovered": "uncovered", "unknown": "failed", "gone": "gone",
    "warned": "warned", "good": "good",
}  # fmt: skip
MOST = 30  # guests that one notice names
LINES, LONGEST = 200, 1000  # of a notice, characters of a line: what hosts answer stands in them


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message. to: the file with addresses; made: Unix time in s; tries: that failed so far."""

    to: str
    title: str
    body: str
    made: float
    tries: int = 0


class Memory(msgspec.Struct, kw_only=True):
    """What was said before. lights: by file and guest, as they know it there; told: likewise, when it was last named
    there (Unix time in s); nights: by file, the night of which it was told; waiting: notices that did not get through.
    """

    lights: dict[str, Light] = {}
    told: dict[str, float] = {}
    nights: dict[str, str] = {}
    waiting: list[Notice] = []


def compose(alerts: Sequence[Alert], standing: Standing, night: str, memory: Memory) -> list[Notice]:
    """The notices that are new, noted in `memory` as said. night: which one it is, like 2026-11-29.

    A change that comes too soon after the last one keeps the light that they know, and so is told later, if it stays.
    """
    found: list[Notice] = []
    lights: dict[str, Light] = {}
    held: set[str] = set()
    told: set[str] = set()
    for alert, to in ((alert, alert.to.apprise_file) for alert in alerts if alert.to is not None):
        rows = {f"{to} {row.uuid}": row for row in standing.rows}
        lights |= {key: row.light for key, row in rows.items()}
        changed = {key: row for key, row in rows.items() if key not in told and _worth(row, alert, to, memory)}
        now = {key: row for key, row in changed.items() if not _soon(row, alert, to, standing.at, memory)}
        told |= now.keys()
        held |= changed.keys() - now.keys()
        found += _of(to, [*now.values()], standing, night, memory)
    kept = {key: memory.lights[key] for key in held - told if key in memory.lights}
    memory.lights = {key: light for key, light in lights.items() if key not in held - told} | kept
    return found


def _of(to: str, changed: Sequence[Row], standing: Standing, night: str, memory: Memory) -> list[Notice]:
    fresh = memory.nights.get(to) != night
    if not changed and not fresh:
        return []
    memory.nights[to] = night
    memory.told |= {f"{to} {row.uuid}": standing.at for row in changed}
    title = f"crashcart: {headline(standing)}" if fresh else f"crashcart: {_changes(changed)}"
    return [Notice(to=to, title=units.one_line(title)[:LONGEST], body=_body(changed, standing), made=standing.at)]


def _worth(row: Row, alert: Alert, to: str, memory: Memory) -> bool:
    """Whether the guest's light is another than they know there, and they want to know."""
    severity = OF.get(row.light)
    if severity is None or memory.lights.get(f"{to} {row.uuid}") == row.light:
        return False
    return severity in alert.match.severity or _back(row, alert, to, memory)


def _back(row: Row, alert: Alert, to: str, memory: Memory) -> bool:
    """Whether it is good again after what they were told of."""
    before = memory.lights.get(f"{to} {row.uuid}", "good")
    return row.light in ("good", "warned") and OF.get(before) in alert.match.severity


def _soon(row: Row, alert: Alert, to: str, now: float, memory: Memory) -> bool:
    """Whether they were told of it only just now; that it is good again is never kept from them."""
    last = memory.told.get(f"{to} {row.uuid}")
    soon = last is not None and 0 <= now - last < words.seconds(alert.quiet)
    return soon and not _back(row, alert, to, memory)


def _changes(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return f"{rows[0].name} is {rows[0].light}"
    return f"{len(rows)} guests changed"


def _body(rows: Sequence[Row], standing: Standing) -> str:
    lines = [headline(standing)]
    lines += [f"{row.name} on {row.host} is {row.light}{': ' if row.why else ''}{row.why}" for row in rows[:MOST]]
    if len(rows) > MOST:
        lines.append(f"and {len(rows) - MOST} more: crashcart fleet status")
    lines += [f"host {host} had no answer: {why}" for host, why in standing.silent.items()]
    lines += [*standing.emptied.values(), *standing.held]
    lines += [f"repository {one.name} was not read: {one.trouble}" for one in standing.repositories if one.trouble]
    lines += [f"repository {one.name} is nearly full: {one.tight}" for one in standing.repositories if one.tight]
    return "\n".join(units.one_line(line)[:LONGEST] for line in lines[:LINES])


def settle(memory: Memory, sent: Mapping[int, bool], now: float, longest: float = 3 * 86400.0) -> list[Notice]:
    """Take out what got through, and what nobody took for so long; the latter comes back. sent: by place in waiting."""
    kept: list[Notice] = []
    given_up: list[Notice] = []
    for place, notice in enumerate(memory.waiting):
        if sent.get(place):
            continue
        again = msgspec.structs.replace(notice, tries=notice.tries + 1)
        (given_up if now - notice.made > longest else kept).append(again)
    memory.waiting = kept
    return given_up
