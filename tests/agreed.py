"""The word that a plan asks for, given by whoever was shown it: `perform(..., confirm=AGREED)`."""

from __future__ import annotations

from engines.job.contract import Plan


def AGREED(plan: Plan) -> str:
    return plan.confirm
