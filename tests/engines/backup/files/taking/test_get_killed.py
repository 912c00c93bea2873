"""Killed, stopped or out of room, a destination holds whole files only, and resume goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from engines import tasks
from engines.backup.files.taking import getting
from engines.backup.files.taking.staging import PREFIX
from engines.job import runs
from engines.job.contract import Finished, RunFailed, RunStopped
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.engines.backup import lab
from tests.engines.backup.files.get_lab import Staged, same, whole

LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def killed_while_writing(run: runs.Run, dest: Path, seconds: float) -> bool:
    """Whether the run was killed before its end, that long after it began to write."""
    child = os.fork()
    if not child:
        perform(run, tasks.engine("backup-get"), confirm=AGREED)
        os._exit(0)
    while not list(dest.glob(os.fsdecode(PREFIX) + "*")) and os.waitid(os.P_PID, child, LOOK) is None:
        time.sleep(0.005)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def campaign(crowd: Staged, dest: Path, kills: int) -> None:
    """Kill one get again and again, resume it, and look each time at what is there."""
    rng = random.Random(os.urandom(4))
    params = crowd.params(dest, owner=True)
    first, count, span = runs.create(Job(task="backup-get", params=params), str(dest)), 0, 2.0
    run = first
    while kills:
        if killed_while_writing(run, dest, rng.uniform(0, span)):
            kills -= 1
        else:  # it was quicker than that: once more from the beginning
            span /= 2
            shutil.rmtree(dest)
            first, count = runs.create(Job(task="backup-get", params=params), str(dest)), 0
            run = first
            continue
        count, before = whole(crowd, dest), count
        assert count >= before
        run = runs.create(Job(task="backup-get", params=params), str(dest), mode="resume", earlier=first.id)
    last = perform(run, tasks.engine("backup-get"), confirm=AGREED)
    assert isinstance(last, Finished), last
    same(crowd, dest)


def test_kills_at_random_moments_leave_whole_files_and_resume_ends_the_same(crowd: Staged, tmp_path: Path) -> None:
    campaign(crowd, tmp_path / "out", kills=4)


@pytest.mark.soak
def test_sixty_kills_leave_whole_files_and_resume_ends_the_same(crowd: Staged, tmp_path: Path) -> None:
    for nth in range(6):
        campaign(crowd, tmp_path / f"out{nth}", kills=10)


def test_a_stop_says_what_is_there_and_undo_removes_it(crowd: Staged, tmp_path: Path) -> None:
    stop = Stop()
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "mine").write_text("stays")

    def listen(entry: Entry) -> None:
        if any(dest.glob("f*/*")):
            stop.ask()

    params = crowd.params(dest)
    run, last = lab.perform_job("backup-get", stop=stop, listen=listen, **params)
    assert isinstance(last, RunStopped), last
    count = len([*dest.glob("f*/*"), *dest.glob("big*")])
    assert last.left_behind[0].startswith(f"{count} files are in")
    assert (run.folder / getting.KEPT_AS).read_bytes().count(b"\n") >= count
    undone = runs.create(run.job(), str(dest), mode="undo", earlier=run.id)
    assert isinstance(perform(undone, tasks.engine("backup-get"), confirm=AGREED), Finished)
    assert [path.name for path in dest.iterdir()] == ["mine"]


def test_undo_leaves_what_was_changed_since(guest: Staged, tmp_path: Path) -> None:
    run, last = guest.get(tmp_path / "out", "/etc", "/empty")
    assert isinstance(last, Finished)
    (tmp_path / "out/etc/hosts").write_text("edited")
    undone = runs.create(run.job(), "", mode="undo", earlier=run.id)
    assert isinstance(perform(undone, tasks.engine("backup-get"), confirm=AGREED), Finished)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["etc", "hosts"]


def test_a_full_disk_names_what_was_taken_and_resume_goes_on(crowd: Staged, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "crashcart-test", str(place)], check=True)
    try:
        run, last = crowd.get(place / "out", owner=True)
        assert isinstance(last, RunFailed), last
        assert "full" in last.why
        assert "files are in" in last.left_behind[0]
        listed = run.folder / getting.KEPT_AS
        assert str(listed) in last.left_behind[1]
        assert listed.read_bytes().count(b"file\t") == whole(crowd, place / "out") > 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        resumed = runs.create(run.job(), "", mode="resume", earlier=run.id)
        assert isinstance(perform(resumed, tasks.engine("backup-get"), confirm=AGREED), Finished)
        same(crowd, place / "out")
    finally:
        subprocess.run(["umount", str(place)], check=True)
