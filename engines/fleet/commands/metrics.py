"""fleet metrics: how all stand, as Prometheus reads it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import msgspec

from engines.fleet.commands.params import FleetParams
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.morning import metrics
from engines.fleet.morning.looking import look
from engines.job.params import param


class MetricsParams(FleetParams, frozen=True, kw_only=True):
    """Where they go."""

    textfile: Annotated[
        str, param("Textfile", "a .prom file in node_exporter's folder, put in place whole; without it, to the screen")
    ] = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics; textfile: where they were put, or empty."""

    text: str
    textfile: str = ""


def answer(params: MetricsParams) -> Measured:
    """Look, and write them where that is wanted. Raises Refused."""
    fleet = params.read()
    with Ledger(place(fleet)) as ledger:
        text = metrics.text(fleet, ledger, look(fleet, ledger, time.time(), ask=False))
    if params.textfile:
        metrics.write(text, Path(params.textfile).absolute())
    return Measured(text=text, textfile=params.textfile)


def table(measured: Measured) -> str:
    """The text, or where it is."""
    return f"written to {measured.textfile}" if measured.textfile else measured.text
