"""Dated tables of what clients do, as YAML: the ones shipped, and those that a lab writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from engines.host.files import open_named
from engines.job.errors import BadParam

LONGEST = 4 << 20  # bytes of a table; the largest shipped has 40 KiB
SHIPPED = Path(__file__).with_name("data")
MEASURED = SHIPPED / "measured.yaml"
PUBLISHED = SHIPPED / "as-published.yaml"


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One client under one fault.

    outcome: moved (it showed a live copy), stayed, error, waiting (not within `seconds`), oneshot (see new visitor).
    seconds: from the start of the load to the outcome, a median; gap: between the first SYNs to first and last address.
    ladder: the kernel's SYN ladder; ladder_seconds its length. addresses: A records, all but the last one dark.
    """

    client: str
    version: str
    kind: Literal["browser", "program"]
    fault: str
    outcome: Literal["moved", "stayed", "error", "waiting", "oneshot"]
    seconds: float | None = None
    gap: float | None = None
    reloads: int | None = None
    runs: int = 1
    agreeing: int | None = None
    ladder: str = ""
    ladder_seconds: int | None = None
    addresses: int = 2
    date: str = ""
    note: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A set of cells with where they come from. `date` is that of every cell without one of its own."""

    title: str
    date: str
    source: str
    cells: tuple[Cell, ...]


def read(path: Path) -> Table:
    """A table from its file. Raises BadParam."""
    import yaml

    try:
        with open_named(path) as stream:
            raw = yaml.safe_load(stream.read(LONGEST))
        table = msgspec.convert(raw, Table)
    except OSError as error:
        raise BadParam("table", str(path), f"a table that can be read ({error.strerror})") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        said = str(error).splitlines()[0]
        raise BadParam("table", str(path), f"a table as crashcart failover lab writes it ({said})") from None
    return msgspec.structs.replace(table, cells=tuple(_dated(cell, table.date) for cell in table.cells))


def _dated(cell: Cell, date: str) -> Cell:
    return cell if cell.date else msgspec.structs.replace(cell, date=date)


def dump(table: Table) -> str:
    """The table as YAML text, one cell a line."""
    import yaml

    head: dict[str, Any] = {"title": table.title, "date": table.date, "source": table.source}
    lines = [yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000).rstrip("\n"), "cells:"]
    for cell in table.cells:
        plain = {name: value for name, value in msgspec.to_builtins(cell).items() if value != ""}
        flow = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=True, width=1000)
        lines.append(f"  - {flow.strip()}")
    return "\n".join(lines) + "\n"


def said(cell: Cell) -> str:
    """The outcome in a few words: `0.3 s`, `> 30 s`, `error after 181 s`."""
    seconds = "" if cell.seconds is None else f"{cell.seconds:.1f} s"
    if cell.outcome == "moved" and cell.reloads:
        return f"{seconds}, {cell.reloads} reload{'s' if cell.reloads > 1 else ''}"
    words = {
        "moved": seconds or "yes",
        "waiting": f"> {seconds}",
        "error": f"error after {seconds}" if seconds else "error",
        "stayed": "shown the dead copy",
        "oneshot": "as a new visitor",
    }
    return words[cell.outcome]


def rows(cells: Sequence[Cell]) -> list[str]:
    """Lines for people, 74 columns (the narrator indents them): client, version, fault, failover OK, seconds, page."""
    lines = [f"{'client':12} {'version':14} {'fault':15} {'failover OK':14} {'seconds':>7} {'page':>7}"]
    for cell in cells:
        gap = "-" if cell.gap is None else f"{cell.gap:.2f}"
        page = "-" if cell.seconds is None or cell.outcome != "moved" else f"{cell.seconds:.2f}"
        lines.append(f"{cell.client:12.12} {cell.version:14.14} {cell.fault:15} {ok(cell):14.14} {gap:>7} {page:>7}")
    return lines


def brief(cells: Sequence[Cell]) -> str:
    """The same in 46 columns, for a screen."""
    lines = [f"{'client':12} {'fault':15} {'failover OK'}"]
    lines += [f"{cell.client:12.12} {cell.fault:15} {_outcome(cell)}" for cell in cells]
    return "\n".join(lines)


def _outcome(cell: Cell) -> str:
    moved = f" {cell.seconds:.1f} s" if cell.outcome == "moved" and cell.seconds is not None else ""
    return f"{ok(cell)}{moved}"


def ok(cell: Cell) -> str:
    """The table's word on failover, with how many runs agreed where not all did."""
    share = f" {cell.agreeing}/{cell.runs}" if cell.agreeing not in (None, cell.runs) else ""
    reloads = f", {cell.reloads} reload" + ("s" if cell.reloads != 1 else "") if cell.reloads else ""
    late = f"not in {cell.seconds:.0f} s" if cell.seconds is not None else "not in time"
    words = {
        "moved": "yes" + reloads,
        "waiting": late,
        "error": "no, error" + ("" if cell.seconds is None else f" {cell.seconds:.0f} s"),
        "stayed": "no, stays",
        "oneshot": "as new visitor",
    }
    return words[cell.outcome] + share
