"""The failover task's front door: its runs and its questions."""

from __future__ import annotations

from typing import Any

from engines.failover import predict
from engines.failover.asking import elsewhere, probe
from engines.failover.asking.watch import Watch
from engines.failover.lab import clean
from engines.failover.lab.lab import Lab
from engines.failover.predict import PredictParams
from engines.job.contract import Engine, Look

ENGINES: tuple[Engine[Any], ...] = (Lab(), Watch())
LOOKS: tuple[Look, ...] = (
    Look(
        "probe",
        "if one address of a site goes away, can the others carry it",
        elsewhere.ProbeParams,
        elsewhere.joined,
        elsewhere.table,
        code=probe.code,
    ),
    Look(
        "predict",
        "how many seconds visitors wait when an address goes dark",
        PredictParams,
        predict.answer,
        predict.table,
    ),
    Look("lab-clean", "clear away what killed labs left", clean.CleanParams, clean.answer, clean.table),
)
