"""A job started once under its key, in a process of its own that outlives the connection, and followed to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator

from engines import tasks
from engines.fleet.agent import wire
from engines.fleet.agent.slots import slot
from engines.job import detach, journal, once
from engines.job.contract import Finished, Progress, RunFailed, Warned
from engines.job.errors import Refused
from engines.job.perform import exit_code
from engines.job.runs import Run
from engines.job.work import Work

# What a controller may have done: nothing that writes to a disk. The word for prune is the policy in fleet.yaml.
ALLOWED = ("backup", "backup-prune", "backup-gc", "backup-verify", "backup-lock", "backup-boot", "backup-prove")
EVERY = 1.0  # s between two words of progress
ALIVE = 15.0  # s between two signs that the run is followed


def start(request: wire.Start, alive: float = ALIVE) -> Iterator[wire.AnyAnswer]:
    """Start it, follow it where it runs, or tell how it ended. alive: s between two signs of life. Raises Refused."""
    if request.job.task not in ALLOWED:
        raise Refused(f"a controller may not start {request.job.task}", "allowed are " + ", ".join(ALLOWED))
    found = once.settle(request.key)
    if isinstance(found, Run):
        yield from followed(found)
        return
    with found, slot(request.slots) as held:
        if held is None:
            yield wire.Busy(taken=request.slots)
            return
        run = _begun(request, found, held)
    yield wire.Begun(run=run.id, new=True)
    yield from _told(run, alive, before=False)


def _begun(request: wire.Start, claim: once.Claim, held: int) -> Run:
    tasks.sweep(request.job.task)
    work = Work.of(tasks.engine(request.job.task), request.job.params)
    plan = work.plan()
    run = work.begin(plan)
    claim.begin(run)
    detach.start(run, work.secrets, plan.confirm, [claim.descriptor, held])
    return run


def attach(key: str) -> Iterator[wire.AnyAnswer]:
    """Follow the run of a key. Raises Refused where there is none."""
    run = once.find(key)
    if run is None:
        raise Refused(f"nothing was started here as {key}", "start it")
    yield from followed(run)


def stop(key: str) -> wire.Said:
    """Ask the run of a key to stop. Raises Refused."""
    run = once.find(key)
    if run is None:
        raise Refused(f"nothing was started here as {key}", "see what runs: crashcart runs")
    return wire.Said(text=detach.stop(run))


def followed(run: Run) -> Iterator[wire.AnyAnswer]:
    """A run that somebody else started."""
    before = journal.ended(run.journal)
    yield wire.Begun(run=run.id, new=False)
    yield from _told(run, ALIVE, before=before)


def _told(run: Run, alive: float, *, before: bool) -> Iterator[wire.AnyAnswer]:
    warnings: list[str] = []
    last = None
    due = 0.0
    sign = time.monotonic() + alive
    for entry in detach.looks(run):
        if time.monotonic() >= sign:
            sign = time.monotonic() + alive
            yield wire.Alive()
        if entry is None:
            continue
        last = entry.event
        if isinstance(last, Warned):
            warnings.append(last.text)
        if isinstance(last, Progress) and not before and time.monotonic() >= due:
            due = time.monotonic() + EVERY
            yield wire.Progressed(done=last.done, total=last.total, unit=last.unit)
    status = run.status()
    yield wire.Ended(
        run=run.id,
        status=status,
        code=exit_code(last, bool(warnings)) if last is not None else 1,
        before=before,
        warnings=tuple(warnings),
        summary=last.summary if isinstance(last, Finished) else "",
        result=last.result if isinstance(last, Finished) else {},
        why=last.why if isinstance(last, RunFailed) else "" if isinstance(last, Finished) else f"it was {status}",
        what_helps=last.what_helps if isinstance(last, RunFailed) else "",
    )
