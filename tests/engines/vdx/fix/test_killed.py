"""A run killed at any step, stopped, or cut off, is taken up and ends as it should have."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.job import detach, journal, runs
from engines.job.contract import Finished, Log, RunStopped, StepStarted
from engines.job.jobfile import Job
from engines.job.params import Secret
from engines.job.perform import Stop, perform
from engines.rehearsal.switches import Rehearsal
from engines.vdx.fix import progress
from engines.vdx.fix.fix import Fix
from tests.agreed import AGREED
from tests.engines.vdx.conftest import QUICK, Lab, everything_below, failed, finished, knobs, mended

Labs = Callable[..., Lab]
PATIENCE = 180.0  # s for a step of a child process on a busy machine


Ready = Callable[[Rehearsal], bool]
TE = "interface TenGigabitEthernet 1/0/5"
RUNNING = "show running-config | nomore"


def held(switches: Rehearsal) -> bool:
    return switches.a.holding or switches.b.holding


def away(switches: Rehearsal) -> bool:
    """The switch goes down for its reboot, or has; whatever it is asked first afterwards is held."""
    return switches.a.stage != "ready" or switches.a.reboots > 0


def killed_at(switches: Rehearsal, ready: Ready = held, **changed: object) -> runs.Run:
    """A run in a process of its own, killed once `ready`; a command that the switch holds keeps it from its end."""
    job = Job(task="vdx", params={**switches.params(), **QUICK, **changed})
    run = runs.create(job, switches.address(switches.a))
    detach.start(run, {"password": Secret(switches.password)}, switches.a.name)
    deadline = time.monotonic() + PATIENCE
    while not ready(switches):
        assert run.status() not in ("failed", "refused", "done"), run.status()
        assert time.monotonic() < deadline, switches.a.commands
        time.sleep(0.01)
    holder = run.holder()
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    while holder.alive():
        time.sleep(0.01)
    for switch in (switches.a, switches.b):
        switch.knobs.hold = None
    return run


def taken_up(switches: Rehearsal, earlier: runs.Run) -> tuple[runs.Run, object]:
    run = runs.create(earlier.job(), earlier.info().target, mode="resume", earlier=earlier.id)
    return run, perform(run, Fix(), secrets={"password": Secret(switches.password)}, confirm=AGREED)


def one_kill(hold: tuple[str, int], ready: Ready) -> None:
    with Rehearsal(knobs(hold=hold), knobs()) as switches:
        before = switches.a.shown()
        earlier = killed_at(switches, ready)
        assert earlier.status() == "interrupted"
        lab = Lab(switches)
        lab.run, last = taken_up(switches, earlier)
        mended(lab, last, before)  # type: ignore[arg-type]  # a last word
        assert switches.a.reboots == 1
        for run in (earlier, lab.run):
            for path, content in everything_below(run.folder):
                assert switches.password.encode() not in content, path


KILLS: dict[str, tuple[tuple[str, int], Ready]] = {
    "connect": (("show vcs", 1), held),
    "backup": ((RUNNING, 2), held),
    "backup, read once": ((RUNNING, 3), held),
    "change, before its question": (("vcs vcsid", 0), held),
    "wait, as it goes down": (("show vcs", 2), away),
    "wait, as it is back": (("show vcs", 2), held),
    "restore, half typed": ((TE, 1), held),
    "restore, all typed": ((RUNNING, 5), held),
    "save": (("copy running-config", 0), held),
    "verify": (("show fabric isl", 2), held),
}
"""By the step that is cut: what is not answered, and how often it was before; of `show fabric isl`, islports too."""


def test_a_run_killed_at_any_step_is_taken_up_with_one_reboot_in_all() -> None:
    with ThreadPoolExecutor(3) as pool:
        for step, outcome in [(step, pool.submit(one_kill, *kill)) for step, kill in KILLS.items()]:
            try:
                outcome.result()
            except AssertionError as error:
                raise AssertionError(f"killed at {step}: {error}") from error


def test_a_resume_that_is_killed_itself_is_taken_up_from_where_it_was(lab: Labs) -> None:
    here = lab(knobs(refuse_line="mtu 9216", hold=(RUNNING, 2)))
    before = here.a.shown()
    earlier = killed_at(here.switches)
    here.run = earlier
    failed(here.again("resume", "stop"))
    furthest = progress.furthest(earlier.folder)
    assert furthest != earlier.folder and progress.load(furthest).phase == "back"  # type: ignore[union-attr]  # it is there
    here.a.knobs.refuse_line = ""
    here.run = earlier
    mended(here, here.again("resume"), before)
    assert here.a.reboots == 1


def test_a_per_port_fix_killed_between_the_ends_is_taken_up(lab: Labs) -> None:
    here = lab(knobs(), knobs(hold=("fabric neighbor-discovery", 0)))
    here.run = killed_at(here.switches, method="edge-port")
    finished(here.again("resume"))
    assert here.switches.fabric.link(here.a, 5).up and here.a.startup == here.a.running


@pytest.mark.parametrize("step", ["backup", "wait", "restore"])
def test_a_stop_leaves_the_switch_as_it_was_or_names_what_is_not_put_back(lab: Labs, step: str) -> None:
    here = lab()
    before = here.a.shown()
    stop = Stop()
    run = here.begin()

    def listen(entry: journal.Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == step:
            stop.ask()

    last = perform(run, Fix(), stop=stop, secrets={"password": here.secret}, listen=listen, confirm=AGREED)
    assert isinstance(last, RunStopped), last
    if step == "backup":
        assert here.a.shown() == before and here.a.reboots == 0 and last.left_behind == ()
    else:
        assert "sw1" in last.left_behind[0]
        here.run = run
        mended(here, here.again("resume"), before)


def test_a_stop_during_the_change_waits_for_its_end(lab: Labs) -> None:
    here = lab()
    stop = Stop()
    run = here.begin()

    def listen(entry: journal.Entry) -> None:
        if isinstance(entry.event, Log) and "# vcs vcsid" in entry.event.text:
            stop.ask()

    last = perform(run, Fix(), stop=stop, secrets={"password": here.secret}, listen=listen, confirm=AGREED)
    assert isinstance(last, RunStopped) and "told to reboot" in last.left_behind[0]


def test_eight_pairs_are_mended_at_once(tmp_path: Path) -> None:
    def one(number: int) -> tuple[str, str, object]:
        with Rehearsal(knobs(), knobs()) as switches:
            before = switches.a.shown()
            job = Job(task="vdx", params={**switches.params(), **QUICK})
            run = runs.create(job, switches.address(switches.a))
            detach.start(run, {"password": Secret(switches.password)}, switches.a.name)
            last = [entry.event for entry in detach.follow(run)][-1]
            return before, switches.a.shown(), last

    with ThreadPoolExecutor(8) as pool:
        for before, after, last in pool.map(one, range(8)):
            assert isinstance(last, Finished), last
            assert before == after
