"""Who is told what of a round: one notice a night, and each change for the worse, or back, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from engines.fleet.config import words
from engines.fleet.config.model import Alert
from engines.fleet.morning.night import headline
from engines.fleet.morning.standing import Light, Row, Standing

Severity = Literal["failed", "late", "uncovered", "gone", "warned", "good"]
OF: dict[Light, Severity] = {
    "failed": "failed", "late": "late", "uncovered": "uncovered", "unknown": "failed", "gone": "gone", "good": "good",
}  # fmt: skip
MOST = 30  # guests that one notice names


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message. to: the file with addresses; made: Unix time in s; tries: that failed so far."""

    to: str
    title: str
    body: str
    made: float
    tries: int = 0


class Memory(msgspec.Struct, kw_only=True):
    """What was said before. lights: by guest; told: by file and guest, when it was last named there (Unix time in s);
    nights: by file, the night of which it was told; waiting: notices that did not get through.
    """

    lights: dict[str, Light] = {}
    told: dict[str, float] = {}
    nights: dict[str, str] = {}
    waiting: list[Notice] = []


def compose(alerts: Sequence[Alert], standing: Standing, night: str, memory: Memory) -> list[Notice]:
    """The notices that are new, noted in `memory` as said. night: which one it is, like 2026-11-29."""
    found = [
        notice
        for alert in alerts
        if alert.to is not None
        for notice in _of(alert, alert.to.apprise_file, standing, night, memory)
    ]
    memory.lights = {row.uuid: row.light for row in standing.rows}
    return found


def _of(alert: Alert, to: str, standing: Standing, night: str, memory: Memory) -> list[Notice]:
    changed = [row for row in standing.rows if _worth(row, alert, to, standing.at, memory)]
    fresh = memory.nights.get(to) != night
    if not changed and not fresh:
        return []
    memory.nights[to] = night
    memory.told |= {f"{to} {row.uuid}": standing.at for row in changed}
    title = f"crashcart: {headline(standing)}" if fresh else f"crashcart: {_changes(changed)}"
    return [Notice(to=to, title=title, body=_body(changed, standing), made=standing.at)]


def _worth(row: Row, alert: Alert, to: str, now: float, memory: Memory) -> bool:
    """Whether the guest's light is another than before and somebody there wants to know, and is not just told of it."""
    severity = OF.get(row.light)
    before = memory.lights.get(row.uuid)
    if severity is None or before == row.light:
        return False
    back = severity == "good" and OF.get(before or "good") in alert.match.severity
    if severity not in alert.match.severity and not back:
        return False
    last = memory.told.get(f"{to} {row.uuid}")
    return back or last is None or now - last >= words.seconds(alert.quiet)


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
    return "\n".join(lines)


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
