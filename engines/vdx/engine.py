"""The front door of the vdx task: diagnose and fix."""

from __future__ import annotations

from engines.job.contract import Engine, Look
from engines.vdx.fix.fix import Fix
from engines.vdx.judging import diagnose
from engines.vdx.switch.params import Ends, FixParams

ENGINES: tuple[Engine[FixParams], ...] = (Fix(),)
LOOKS: tuple[Look, ...] = (
    Look(
        verb="diagnose",
        title="why a port is down with ISL DOWN, from both of its ends",
        params=Ends,
        answer=diagnose.answer,
        table=diagnose.table,
    ),
)
