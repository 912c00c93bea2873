"""Resuming and undoing an operation on a guest; one that has run since gets its files back one by one."""

from __future__ import annotations

from engines.guest import takeback
from engines.guest.takeback import Executes, Instead
from engines.job.contract import Context, Events, Plan
from engines.job.runs import Run


def resume(engine: Executes, plan: Plan, context: Context) -> Events:
    """Finish what a kill interrupted."""
    return takeback.resume(engine, plan, context, _putback(plan))


def undo(plan: Plan, context: Context) -> Events:
    """Put the original bytes back."""
    return takeback.undo(plan, context, _putback(plan))


def _putback(plan: Plan) -> Instead:
    def instead(run: Run) -> str:
        command = f"crashcart virtio putback {plan.params.image} --run {run.id}"
        return f"bring the edited files back inside it: {command}"

    return instead
