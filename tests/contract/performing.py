"""How a case's run is driven to its last word, and which cases a promise is held against."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engines.job import answers, journal, runs
from engines.job.contract import (
    AnyEvent,
    Asked,
    Finished,
    Plan,
    RunStopped,
)
from engines.job.journal import Entry
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.contract.cases import CASES
from tests.contract.target import Case, Target

# A guest's appliance takes ten seconds to start: what needs it dozens of times is for `make soak`.
SLOW = ("virtio",)
each = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.soak] if case.name in SLOW else []) for case in CASES],
)
quick = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
asks = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name in (
        "copier", "biosiso over a file", "biosiso insert", "backup prune", "vdx", "virtio"
    )],
    ids=lambda case: case.name,
)  # fmt: skip


def performed(
    case: Case,
    target: Target,
    listen: Callable[[Entry], None] | None = None,
    *,
    stop: Stop | None = None,
    confirm: str | Callable[[Plan], str] = AGREED,
    **info: str,
) -> tuple[runs.Run, AnyEvent]:
    """A run to its last word; its questions get their first choice, and one that goes on is stopped once it is up."""
    earlier, plan = info.get("earlier"), None
    if not earlier:
        plan = target.plan()
    words = plan.target if plan else runs.find(str(earlier)).info().target
    run, stop = runs.create(target.job, words, **info), stop or Stop()
    up = False

    def heard(entry: Entry) -> None:
        nonlocal up
        if listen:
            listen(entry)
        if isinstance(entry.event, Asked):
            reply = (entry.event.choices or ("",))[0]
            threading.Thread(target=answers.send, args=(run.folder, reply), daemon=True).start()
        if case.until and not up and case.until(entry.event):
            up = True
            stop.ask()

    last = perform(
        run,
        target.engine,
        plan=plan if target.engine.holds and not info else None,
        stop=stop,
        listen=heard,
        secrets=target.secrets,
        confirm=confirm,
        answer_within=120.0,
    )
    return run, last


def over(case: Case, last: AnyEvent) -> bool:
    """Whether that is how a run of it ends that did its work."""
    return isinstance(last, Finished) or (case.until is not None and isinstance(last, RunStopped))


def events_of(run: runs.Run) -> list[AnyEvent]:
    return [entry.event for entry in journal.entries(run.journal)]
