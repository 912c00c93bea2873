"""Runs of the lab put together: one row a client and fault, medians over the runs that agree."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Literal, cast

import msgspec

from engines.failover.faults import FAULTS
from engines.failover.lab.ladder import Ladder
from engines.failover.lab.measurement import Seen
from engines.failover.tables import Cell, Table, rows, said
from engines.failover.visitors.clients import catalogue

AGREE = 0.3  # s between our gap and tcpdump's, the bar


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None where none is."""
    present = [value for value in values if value is not None]
    return round(statistics.median(present), 3) if present else None


def cells(
    found: Sequence[Seen], versions: dict[str, str], ladder: Ladder, addresses: int, patience: float
) -> list[Cell]:
    """One cell a client and fault, in the order of the catalogue; runs that broke count for nothing."""
    worked = [seen for seen in found if seen.outcome != "broken" and seen.fault]
    order = {name: at for at, name in enumerate(catalogue())}
    worked.sort(key=lambda seen: (order[seen.client], seen.fault, seen.run))
    grouped = groupby(worked, key=lambda seen: (seen.client, seen.fault))
    return [_cell(list(runs), versions, ladder, addresses, patience) for _, runs in grouped]


def _cell(runs: list[Seen], versions: dict[str, str], ladder: Ladder, addresses: int, patience: float) -> Cell:
    outcome, agreeing = Counter(seen.outcome for seen in runs).most_common(1)[0]
    same = [seen for seen in runs if seen.outcome == outcome]
    errors = sorted({seen.error for seen in same if seen.error})
    reloads = round(statistics.median(seen.reloads for seen in same)) if FAULTS[runs[0].fault].within else None
    notes = errors[:1] or ([f"the visitor reloads after {patience:.0f} s"] if reloads else [])
    return Cell(
        client=runs[0].client,
        version=versions.get(runs[0].client, ""),
        kind=cast(Literal["browser", "program"], catalogue()[runs[0].client].kind),
        fault=runs[0].fault,
        outcome=cast(Literal["moved", "stayed", "error", "waiting", "oneshot"], outcome),
        seconds=median(seen.seconds for seen in same),
        gap=median(seen.gap for seen in same),
        reloads=reloads,
        runs=len(runs),
        agreeing=agreeing,
        ladder=ladder.name,
        ladder_seconds=ladder.seconds,
        addresses=addresses,
        note=notes[0] if notes else "",
    )


def table(found: list[Cell], ladder: Ladder, kernel: str, scheme: str = "http") -> Table:
    """A table that predict reads."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    seconds = f"SYN ladder {ladder.name} ({ladder.seconds} s)"
    source = f"crashcart failover lab, Linux {kernel}, {seconds}, {scheme}, fixed order"
    return Table(title=f"measured {date}", date=date, source=source, cells=tuple(found))


def summary(found: Sequence[Cell]) -> str:
    """`drop: chromium 0.4 s, firefox > 30.0 s; rst: …` on one line."""
    by_fault: dict[str, list[str]] = {}
    for cell in found:
        by_fault.setdefault(cell.fault, []).append(f"{cell.client} {said(cell)}")
    return "; ".join(f"{fault}: {', '.join(words)}" for fault, words in by_fault.items())


def disagreement(found: Sequence[Seen]) -> tuple[int, float]:
    """How many gaps were checked against tcpdump, and the largest difference in seconds."""
    pairs = [(seen.gap, seen.gap_tcpdump) for seen in found if seen.gap is not None and seen.gap_tcpdump is not None]
    return len(pairs), max((abs(ours - theirs) for ours, theirs in pairs), default=0.0)


def timeline(seen: Seen) -> str:
    """`A 0.00 0.25 1.03  B 0.30  page 0.35`: when each copy was knocked at, in seconds."""
    knocks: dict[str, list[float]] = {}
    for at, letter in seen.syns:
        knocks.setdefault(letter, []).append(at)
    parts = [f"{letter} " + " ".join(f"{at:.2f}" for at in times[:12]) for letter, times in sorted(knocks.items())]
    ending = {"moved": "page", "error": "error", "waiting": "still waiting at", "stayed": "dead copy's page"}
    if seen.outcome in ending and seen.seconds is not None:
        parts.append(f"{ending[seen.outcome]} {seen.seconds:.2f}")
    return "  ".join(parts)


def returns(found: Sequence[Seen]) -> list[str]:
    """Lines for visits that came back after a while: did the client ask DNS again, and did it follow the new order."""
    lines = []
    for seen in sorted((seen for seen in found if not seen.fault), key=lambda seen: (seen.client, seen.idle, seen.run)):
        if seen.outcome == "back":
            asked = "asked DNS again" if seen.asked_again else "did not ask DNS"
            where = "stayed with" if seen.letter == seen.first else "moved to"
            lines.append(f"{seen.client:13} idle {seen.idle:5.0f} s: {asked}, {where} {seen.letter}")
        elif seen.outcome == "oneshot":
            lines.append(f"{seen.client:13} idle {seen.idle:5.0f} s: keeps nothing between loads")
    return lines


def lines(found: Sequence[Cell], missing: dict[str, str], broken: Sequence[Seen]) -> list[str]:
    """The table for people, with a row for each client that could not be sent."""
    said = rows(found)
    said += [f"{name:12} {why}" for name, why in missing.items()]
    said += [f"{seen.client:12} {seen.fault or 'idle'} run {seen.run} gave no figure: {seen.error}" for seen in broken]
    return said


def plain(found: Sequence[Any]) -> list[dict[str, Any]]:
    """As plain values, for JSON."""
    listed: list[dict[str, Any]] = msgspec.to_builtins(list(found))
    return listed
