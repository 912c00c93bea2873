"""What every verb of the fleet is told: which fleet.yaml."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from engines.fleet.config import load
from engines.fleet.config.model import Fleet
from engines.job import units
from engines.job.errors import Refused, meant
from engines.job.params import Params, param

SHOWN = 5  # names that are told where another was meant


def nobody(only: str, names: Collection[str]) -> Refused | None:
    """Why no guest fits `only`; None where one does, or there is none at all. names: of all guests that are known."""
    if not only or not names or any(fnmatchcase(name, only) for name in names):
        return None
    known = sorted({units.one_line(name) for name in names})
    there = f"there are {', '.join(known[:SHOWN])}{' …' if len(known) > SHOWN else ''}"
    helps = "; ".join(filter(None, (meant(only, known), there, "'web*' means all that begin so")))
    return Refused(f"no guest is called {only!r}", helps)


class FleetParams(Params, frozen=True, kw_only=True):
    """Which fleet."""

    fleet: Annotated[str, param("Fleet", "the file with hosts, repositories, policies and guests", kind="file")] = str(
        load.PATH
    )

    def read(self) -> Fleet:
        """The fleet. Raises Refused."""
        return load.load(Path(self.fleet))
