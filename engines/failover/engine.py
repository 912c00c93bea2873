"""The failover task's front door: its runs and its questions."""

from __future__ import annotations

from typing import Any

from engines.failover.lab import Lab
from engines.job.contract import Engine, Look

ENGINES: tuple[Engine[Any], ...] = (Lab(),)
LOOKS: tuple[Look, ...] = ()
