"""Two rehearsal switches and the real engine on them, with answers given as a technician would."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.job import answers, journal, runs
from engines.job.contract import AnyEvent, Asked, Cancel, Finished, Plan, RunFailed, Warned
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import Secret, convert
from engines.job.perform import perform
from engines.rehearsal.switches import Knobs, Rehearsal
from engines.vdx.fix.fix import Fix
from engines.vdx.judging import diagnose
from engines.vdx.switch.params import Ends, FixParams
from tests.agreed import AGREED

QUICK: dict[str, Any] = {"out_of_band": True, "stable_for": 0, "reboot_timeout": 120}


def knobs(**changed: Any) -> Knobs:
    """A switch that reboots fast."""
    return dataclasses.replace(Knobs(linger=0.05, down=0.4, silent=0.2, init=0.2), **changed)


def until(holds: Callable[[], object]) -> None:
    """Wait for something to hold."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


class Lab:
    """A rehearsal, and the engine's verbs on it."""

    def __init__(self, switches: Rehearsal) -> None:
        self.switches = switches
        self.a, self.b = switches.a, switches.b
        self.questions: list[str] = []
        self.run: runs.Run | None = None

    @property
    def secret(self) -> Secret:
        return Secret(self.switches.password)

    def params(self, **changed: Any) -> FixParams:
        values = {**self.switches.params(), **QUICK, "password": self.secret, **changed}
        return convert(FixParams, values, task="vdx")

    def diagnose(self, **changed: Any) -> dict[str, Any]:
        values = {**self.switches.params(), "password": self.secret, **changed}
        found = diagnose.answer(convert(Ends, values))
        assert diagnose.table(found)
        return found

    def plan(self, **changed: Any) -> Plan:
        return Fix().plan(self.params(**changed), Cancel())

    def begin(self, **changed: Any) -> runs.Run:
        values = {**self.switches.params(), **QUICK, **changed}
        plan = self.plan(**changed)
        self.run = runs.create(Job(task="vdx", params=values), plan.target, reviewed=plan.digest)
        self.planned = plan
        return self.run

    def fix(self, *replies: str, when: Callable[[AnyEvent], None] = lambda event: None, **changed: Any) -> AnyEvent:
        run = self.begin(**changed)
        return self.perform(run, *replies, when=when, plan=self.planned)

    def again(self, mode: str, *replies: str, secrets: dict[str, Secret] | None = None) -> AnyEvent:
        assert self.run is not None
        earlier = self.run
        run = runs.create(earlier.job(), earlier.info().target, mode=mode, earlier=earlier.id)
        last = self.perform(run, *replies, secrets=secrets)
        self.run, self.later = earlier, run
        return last

    def perform(
        self,
        run: runs.Run,
        *replies: str,
        when: Callable[[AnyEvent], None] = lambda event: None,
        plan: Plan | None = None,
        secrets: dict[str, Secret] | None = None,
    ) -> AnyEvent:
        left = list(replies)

        def listen(entry: Entry) -> None:
            when(entry.event)
            if isinstance(entry.event, Asked):
                self.questions.append(entry.event.question)
                assert left, f"nobody expected: {entry.event.question}"
                threading.Thread(target=answers.send, args=(run.folder, left.pop(0))).start()

        self.run = run
        secrets = {"password": self.secret} if secrets is None else secrets
        last = perform(run, Fix(), plan=plan, secrets=secrets, listen=listen, answer_within=120.0, confirm=AGREED)
        assert not left, f"nobody asked for: {left}"
        return last

    def events(self) -> list[AnyEvent]:
        assert self.run is not None
        return [entry.event for entry in journal.entries(self.run.journal)]

    def warnings(self) -> list[str]:
        return [event.text for event in self.events() if isinstance(event, Warned)]

    def told(self) -> str:
        """Everything the run said, for a look into it."""
        assert self.run is not None
        return "\n".join(path.read_text(errors="replace") for path in self.run.folder.glob("*") if path.is_file())


def finished(last: AnyEvent) -> Finished:
    assert isinstance(last, Finished), last
    return last


def failed(last: AnyEvent) -> RunFailed:
    assert isinstance(last, RunFailed), last
    assert last.what_helps
    return last


def mended(lab: Lab, last: AnyEvent, before: str) -> Finished:
    """The seed's promise: a new vcsid, the same configuration, saved, both ends up."""
    word = finished(last)
    assert (lab.a.vcsid, lab.b.vcsid) == (2, 1)
    assert lab.a.shown() == before
    assert lab.a.startup == lab.a.running
    assert lab.switches.fabric.link(lab.a, 5).up
    assert lab.switches.fabric.link(lab.b, 5).up
    assert word.result["config_equals_copy"]
    return word


@pytest.fixture
def lab() -> Iterator[Callable[..., Lab]]:
    """Make a lab: `lab(a=knobs(...), b=knobs(...), cables=1)`."""
    opened: list[Rehearsal] = []

    def make(a: Knobs | None = None, b: Knobs | None = None, **how: Any) -> Lab:
        switches = Rehearsal(a or knobs(), b or knobs(), **how)
        switches.__enter__()
        opened.append(switches)
        return Lab(switches)

    yield make
    for switches in opened:
        switches.__exit__(None, None, None)


def everything_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()
