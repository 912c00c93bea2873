"""Putting a disc into a BMC, when the process that does it is killed: undo and resume go by journal and order alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.host.child import bind_to_parent
from engines.job import runs
from engines.job.contract import Asked, Finished, RunFailed, StepEnded, StepStarted
from engines.job.jobfile import Job
from tests.engines.biosiso.bmc.redfish_board import SLOT, SYSTEM, Board, drive, events, job
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD, make_disc

KILLED = """
import json, os, signal, sys
from tests.engines.biosiso.bmc import redfish_board
password = sys.stdin.readline().strip()
job = redfish_board.Job(task="biosiso-insert", params=json.loads(sys.argv[1]))
def on(entry, run, stop):
    if entry.seq == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
redfish_board.drive(job, password=password, on=on)
"""


def killed(what: Job, number: int) -> runs.Run:
    """A run whose process is killed right after its event `number` is on disk."""
    root = Path(__file__).parents[4]
    argv = [sys.executable, "-c", KILLED, json.dumps(what.params), str(number)]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        argv, input=f"{PASSWORD}\n".encode(), cwd=root, env=env, preexec_fn=bind_to_parent(), timeout=60, check=False
    )
    assert done.returncode == -9
    run = runs.every()[0]
    assert run.status() == "interrupted"
    return run


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """By name, the number of the events at which runs are killed."""
    folder, found = tmp_path_factory.mktemp("marks"), dict[str, int]()
    with Board() as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        run, _ = drive(job(make_disc(folder), board.port))
        for number, event in enumerate(events(run)):
            match event:
                case StepStarted(step=step):
                    found[f"{step} started"] = number
                case StepEnded(step=step):
                    found[f"{step} ended"] = number
                case Asked():
                    found["asked"] = number
    return found


BROKEN = ("look started", "insert started", "boot-once ended", "asked", "eject ended")


@pytest.mark.parametrize("where", BROKEN)
def test_a_killed_run_is_taken_back_by_undo(board: Board, disc: Path, marks: dict[str, int], where: str) -> None:
    boot, number = dict(board.boot), marks[where]
    run = killed(job(disc, board.port), number)
    _, last = drive(run.job(), mode="undo", earlier=run.id)
    assert isinstance(last, Finished), last
    assert board.slot["Image"] is None
    assert (board.boot["Enabled"], board.boot["Mode"]) == (boot["Enabled"], boot["Mode"])


@pytest.mark.parametrize("where", BROKEN)
def test_a_killed_run_goes_on_where_it_was(board: Board, disc: Path, marks: dict[str, int], where: str) -> None:
    number = marks[where]
    run = killed(job(disc, board.port), number)
    shown = board.slot["Image"]
    _, last = drive(run.job(), mode="resume", earlier=run.id)
    assert isinstance(last, Finished), last
    assert board.slot["Image"] is None
    assert board.boot["Enabled"] == "Disabled"
    inserts = board.changes().count(("POST", f"{SLOT}/Actions/InsertMedia"))
    assert inserts == 1
    assert board.changes().count(("PATCH", SYSTEM)) == 4  # once set, once brought back, each with a first 428
    if shown:
        assert last.result["url"] == shown


def test_a_disc_changed_since_is_never_served_to_a_running_host(
    board: Board, disc: Path, marks: dict[str, int]
) -> None:
    run = killed(job(disc, board.port), marks["asked"])
    disc.write_bytes(disc.read_bytes()[:-1] + b"!")
    _, last = drive(run.job(), mode="resume", earlier=run.id)
    assert isinstance(last, RunFailed), last
    assert "no longer the disc" in last.why
    assert isinstance(drive(run.job(), mode="undo", earlier=run.id)[1], Finished)
    assert board.slot["Image"] is None
