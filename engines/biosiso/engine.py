"""The front door of biosiso: build, insert, and what a package is."""

from __future__ import annotations

from engines.biosiso.bmc.insert import Insert
from engines.biosiso.build.build import Build
from engines.biosiso.vendor import firmware
from engines.job.contract import (
    Look,
)

ENGINES = (Build(), Insert())
LOOKS = (
    Look(
        verb="inspect",
        title="What a vendor's BIOS package is",
        params=firmware.InspectParams,
        answer=firmware.inspect,
        table=firmware.table,
    ),
)
