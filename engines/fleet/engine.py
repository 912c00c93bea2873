"""The front door of the fleet."""

from __future__ import annotations

from typing import Any

from engines.fleet.commands import guests
from engines.job.contract import Engine, Look

ENGINES: tuple[Engine[Any], ...] = ()
LOOKS = (
    Look(
        "guests",
        "every guest of every host, and who has no backup",
        guests.GuestsParams,
        guests.answer,
        guests.table,
        code=guests.code,
    ),
)
