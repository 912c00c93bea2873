"""A restore to another host that is stopped, killed, taken up or met by another run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import tasks
from engines.backup.commands.far_hold import first_line, held
from engines.backup.commands.far_place import place_at
from engines.job.contract import Cancel, Context, Finished, RunFailed, RunStopped, StepStarted
from engines.job.errors import Failed, Refused
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import Stop
from engines.job.work import typed
from tests.engines.backup import lab
from tests.engines.backup.restoring.loop import loop
from tests.engines.backup.restoring.there import There


def test_a_stopped_run_leaves_no_part_and_is_taken_up(there: There, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    for step in ("write", "verify"):
        run, last = lab.perform_job(
            "backup-restore",
            stop=(stop := Stop()),
            listen=lab.stops_at(step, stop),
            **there.words(old, powered_off=True),
        )
        assert isinstance(last, RunStopped) and last.left_behind == ()
        assert old.read_bytes() == b"old" and list(tmp_path.glob("old*")) == [old]
    plan = run.plan()
    assert plan is not None and "remove" not in plan.undo
    Path(plan.detail["part"]).write_bytes(b"what a killed run left")
    _, last = lab.followed(run, "resume")
    assert isinstance(last, Finished) and old.read_bytes() == there.source.read_bytes()
    assert list(tmp_path.glob("old*")) == [old]


def test_a_resumed_run_looks_again(there: There, tmp_path: Path) -> None:
    new = tmp_path / "new"
    run, last = lab.perform_job(
        "backup-restore", stop=(stop := Stop()), listen=lab.stops_at("verify", stop), **there.words(new)
    )
    assert isinstance(last, RunStopped)
    new.write_bytes(b"somebody else's")
    _, last = lab.followed(run, "resume")
    assert isinstance(last, RunFailed) and "not what it was at the review" in last.why
    assert new.read_bytes() == b"somebody else's"


def test_what_came_to_be_while_it_was_sent_stays(there: There, tmp_path: Path) -> None:
    new = tmp_path / "new"

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "verify":
            new.write_bytes(b"somebody else's")

    _, last = lab.perform_job("backup-restore", listen=listen, **there.words(new))
    assert isinstance(last, RunFailed) and new.read_bytes() == b"somebody else's" and last.left_behind == ()
    assert list(tmp_path.glob("new*")) == [new]


def test_a_device_that_is_half_written_is_named(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(8 * lab.MIB))
    with loop(tmp_path / "image") as device:
        words = there.words(device, powered_off=True)
        run, last = lab.perform_job(
            "backup-restore", stop=(stop := Stop()), listen=lab.stops_at("verify", stop), **words
        )
        assert isinstance(last, RunStopped) and str(device) in last.left_behind[0]
        holds = os.open(device, os.O_RDONLY | os.O_EXCL)  # no mount: a namespace made meanwhile would keep it
        try:
            _, last = lab.followed(run, "resume")
        finally:
            os.close(holds)
        assert isinstance(last, RunFailed) and "held" in last.why
        _, last = lab.followed(run, "resume")
        assert isinstance(last, Finished)
        assert Path(device).read_bytes()[: 7 * lab.MIB + 512] == there.source.read_bytes()


def test_two_runs_to_one_device_there_are_kept_apart(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(8 * lab.MIB))
    with loop(tmp_path / "image") as device:
        words = there.words(device, powered_off=True)
        with held(place_at(str(words["target"]), str(words["ssh_config"]))) as other:
            _, last = lab.perform_job("backup-restore", **words)
            assert isinstance(last, RunFailed) and f"another run writes to {device}" in last.why
            assert f"process {other.process} there" in last.why and last.left_behind == ()
            other.demand()
            os.kill(int(other.process), signal.SIGKILL)  # as where that host goes down
            other.line.wait(120)
            with pytest.raises(Failed, match="was cut"):
                other.demand()
        assert device.read_bytes() == bytes(8 * lab.MIB)
        _, last = lab.perform_job("backup-restore", **words)
        assert isinstance(last, Finished) and device.read_bytes()[: 7 * lab.MIB] == there.source.read_bytes()[:-512]


def test_a_lock_that_cannot_be_asked_for_is_none_and_a_strangers_descriptor_holds_nothing(
    there: There, tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(bytes(lab.MIB))
    place = place_at(f"ssh://there{tmp_path}/image", str(there.folder / "ssh_config"))
    with subprocess.Popen(
        ["sh", "-c", f"exec 9<{tmp_path}/image; echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdin and stranger.stdout and stranger.stdout.readline()
        with held(place) as first, pytest.raises(Refused, match=f"process {first.process} there"), held(place):
            pass
        stranger.stdin.close()
    with flock(there, "exit 1"), held(place) as none:  # as busybox's without -w, or without locks
        assert "is not sure" in none.warning


def test_a_lock_is_kept_by_a_flock_that_is_too_old_for_a_code_of_its_own(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(lab.MIB))
    place = place_at(f"ssh://there{tmp_path}/image", str(there.folder / "ssh_config"))
    with flock(
        there,
        '[ "$1" != -E ] || { echo "flock: invalid option" >&2; exit 64; }',
        '[ "$1" != --version ] || { echo "flock (util-linux-ng 2.17.2)"; exit 0; }',
        'exec /usr/bin/flock "$@"',
    ):
        with held(place) as first, pytest.raises(Refused, match=f"process {first.process} there"), held(place):
            pass
        assert first.process and not first.warning


@contextmanager
def flock(there: There, *lines: str) -> Iterator[None]:
    """Another flock there."""
    program = there.folder / "bin" / "flock"
    program.write_text("\n".join(("#!/bin/sh", *lines, "")))
    program.chmod(0o755)
    try:
        yield
    finally:
        program.unlink()


def test_a_line_of_its_own_that_is_killed_lets_go(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(lab.MIB))
    config = tmp_path / "alone"
    lines = (there.folder / "ssh_config").read_text().splitlines()
    config.write_text("\n".join(line for line in lines if "ControlPath" not in line) + "\n")
    place = place_at(f"ssh://there{tmp_path}/image", str(config))
    with held(place) as cut:
        cut.line.kill()
        cut.line.wait(120)
        with pytest.raises(Failed, match="was cut"):
            cut.demand()
    end = time.monotonic() + 120
    while True:
        try:
            with held(place) as again:  # the far side lets go by itself
                assert again.process and again.process != cut.process
            break
        except Refused:
            assert time.monotonic() < end


def test_a_line_without_an_end_is_waited_for_until_its_time() -> None:
    inside, outside = os.pipe()
    os.write(outside, b"Welcome")
    try:
        with pytest.raises(TimeoutError):
            first_line(inside, time.monotonic())
        os.write(outside, b"held 7\nmore")
        assert first_line(inside, time.monotonic() + 60) == "held 7"
    finally:
        os.close(inside)
        os.close(outside)


def test_each_run_has_a_part_of_its_own(there: There, tmp_path: Path) -> None:
    engine = tasks.engine("backup-restore")
    plans = [engine.plan(convert(engine.params, there.words(tmp_path / "x")), Cancel()) for _ in range(2)]
    assert plans[0].detail["part"] != plans[1].detail["part"] and plans[0].digest == plans[1].digest
    taken = Path(plans[0].detail["part"])
    taken.write_bytes(b"another run's")
    work = engine.execute(typed(engine, plans[0]), Context(cancel=Cancel(), folder=tmp_path))
    with pytest.raises(Failed, match="File exists"):
        list(work)
