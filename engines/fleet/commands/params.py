"""What every verb of the fleet is told: which fleet.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from engines.fleet.config import load
from engines.fleet.config.model import Fleet
from engines.job.params import Params, param


class FleetParams(Params, frozen=True, kw_only=True):
    """Which fleet."""

    fleet: Annotated[str, param("Fleet", "the file with hosts, repositories, policies and guests", kind="file")] = str(
        load.PATH
    )

    def read(self) -> Fleet:
        """The fleet. Raises Refused."""
        return load.load(Path(self.fleet))
