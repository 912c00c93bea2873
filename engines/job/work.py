"""From the words of a job to a plan and a run: one way in for command line, suite, rehearsal and script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from engines.job import runs
from engines.job.contract import Cancel, Engine, Plan, planned
from engines.job.errors import Refused
from engines.job.jobfile import Job, open_secrets
from engines.job.params import Params, Secret, absolute, convert
from engines.job.runs import Run

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Work(Generic[P]):
    """What is to be done: an engine, its parameters in their types, and the job as its file has it.

    Paths in `job` are absolute, whatever folder they were given in; `secrets` are in no file.
    """

    engine: Engine[P]
    params: P
    job: Job
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: Engine[P], given: Mapping[str, Any], secrets: Mapping[str, Secret] | None = None) -> Work[P]:
        """From plain values; a secret is a Secret, or `<name>_file`. Raises Refused, BadParam, naming key and value."""
        there = absolute(engine.params, given)
        opened = open_secrets(engine.params, there) | dict(secrets or {})
        params = convert(engine.params, opened, task=engine.name)
        kept = {name: value for name, value in opened.items() if isinstance(value, Secret)}
        written = {name: value for name, value in there.items() if not isinstance(value, Secret)}
        return cls(engine, params, Job(task=engine.name, params=written), kept)

    def plan(self, cancel: Cancel | None = None) -> Plan:
        """Look, and touch nothing. Raises Refused."""
        return planned(self.engine, self.params, Cancel() if cancel is None else cancel)

    def begin(self, plan: Plan) -> Run:
        """The record of a run that will do just this plan, or refuse where the world has changed. Raises Refused."""
        return runs.create(self.job, plan.target, reviewed=plan.digest)


def typed(engine: Engine[P], plan: Plan, secrets: Mapping[str, Secret] | None = None) -> Plan:
    """The plan with its parameters in their types, as `execute`, `resume` and `undo` take it."""
    params = convert(engine.params, {**plan.params, **(secrets or {})}, task=engine.name)
    return msgspec.structs.replace(plan, params=params)


def follow_up(run: Run, mode: str) -> tuple[Run, Plan]:
    """The record of a run that resumes or undoes `run` (or the run that it followed up), and the plan it goes by.

    Raises Refused where there is nothing to take up or back.
    """
    origin, plan = what_follows(run, mode)
    return runs.create(origin.job(), plan.target, mode=mode, earlier=origin.id), plan


def what_follows(run: Run, mode: str) -> tuple[Run, Plan]:
    """The run that had the plan, and that plan. Raises Refused where it cannot be resumed or undone (`mode`)."""
    while run.info().mode != "do":
        run = runs.find(run.info().earlier)
    plan, status = run.plan(), run.status()
    if plan is None:
        raise Refused(f"run {run.id} never got as far as a plan", "nothing was touched; start it anew")
    if status in ("running", "asking", "starting"):
        raise Refused(f"run {run.id} is still {status}", f"follow it: crashcart attach {run.id}")
    if mode == "resume" and status in ("done", "warned"):
        raise Refused(f"run {run.id} is done", f"see its report: crashcart report {run.id}")
    if mode == "undo" and not plan.undoable:
        raise Refused(f"run {run.id} cannot be taken back", plan.undo)
    return run, plan
