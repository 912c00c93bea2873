"""fleet report: what a night did and how all stand now, for a ticket, a mail or a browser."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec

from engines.fleet.commands.params import FleetParams
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.morning import night
from engines.fleet.morning.looking import look
from engines.fleet.morning.night import Night, markdown
from engines.fleet.morning.page import page
from engines.job.params import param


class ReportParams(FleetParams, frozen=True, kw_only=True):
    """Which night, and how it is written."""

    night: Annotated[
        str, param("Night", "the date on which it began, like 2026-11-29; without it, the last", metavar="DATE")
    ] = ""
    form: Annotated[Literal["md", "html"], param("Form", "Markdown, or one HTML page with a picture")] = "md"


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """The night as data, and how it is shown to people."""

    night: Night
    form: str


def answer(params: ReportParams) -> Reported:
    """Look, and gather. Raises Refused, BadParam."""
    fleet = params.read()
    with Ledger(place(fleet)) as ledger:
        standing = look(fleet, ledger, time.time(), ask=False)
        return Reported(night=night.gather(fleet, ledger, standing, params.night), form=params.form)


def table(reported: Reported) -> str:
    """The report."""
    return page(reported.night) if reported.form == "html" else markdown(reported.night)
