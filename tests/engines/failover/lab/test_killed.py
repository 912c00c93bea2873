"""A lab that is killed: lab-clean, or the next lab, leaves nothing of it, and touches nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engines.failover.lab import clean, namespaces, registry
from engines.failover.lab.lab import Lab
from engines.host.holder import Holder, boot_id, start_time
from engines.job import runs
from engines.job.contract import Finished, Measured, RunStopped
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.perform import Stop, perform
from tests.agreed import AGREED

ROOT = Path(__file__).resolve().parents[4]
PARAMS = {"clients": ["curl"], "faults": ["drop"], "runs": 2, "cap": 60}


def marked(token: str) -> list[int]:
    """Processes that carry a lab's mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"CRASHCART_LAB={token}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A namespace that no lab made, and a named one."""
    with subprocess.Popen(["unshare", "--net", "sleep", "600"]) as process:
        subprocess.run(["ip", "netns", "add", f"bystander-{os.getpid()}"], check=True)
        yield process
        subprocess.run(["ip", "netns", "delete", f"bystander-{os.getpid()}"], check=True)
        process.kill()


def killed() -> tuple[registry.Record, list[int]]:
    """A lab of a process of its own, killed in mid-measurement; its record, and the processes it had."""
    job = json.dumps({"task": "failover", "params": PARAMS})
    (runs.home().parent).mkdir(parents=True, exist_ok=True)
    place = runs.home().parent / "job.yaml"
    place.write_text(job)
    argv = [sys.executable, "-m", "engines.cli", "run", str(place)]
    lab = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    record, pids = None, []
    while time.monotonic() < deadline and len(pids) < 8:
        paths = list(registry.folder().glob("*.json")) if registry.folder().is_dir() else []
        if paths:
            record = msgspec.json.decode(paths[0].read_bytes(), type=registry.Record)
            pids = marked(record.token)
        time.sleep(0.05)
    lab.send_signal(signal.SIGKILL)
    lab.wait(120)
    assert record is not None
    assert len(pids) >= 8, "two cells, each with unshare, the cell, the far end, tcpdump"
    return record, pids


def assert_nothing_left(record: registry.Record) -> None:
    deadline = time.monotonic() + 120
    while marked(record.token) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked(record.token) == []
    assert list(registry.folder().iterdir()) == []
    assert not Path(record.scratch).exists()


def test_lab_clean_clears_a_killed_lab_away_and_spares_what_is_not_its_own(
    bystander: subprocess.Popen[bytes],
) -> None:
    record, _ = killed()
    assert Path(record.scratch).exists()
    swept = registry.sweep()
    assert swept.labs == [record.holder.run]
    assert swept.folders == [record.scratch]
    assert_nothing_left(record)
    assert bystander.poll() is None
    assert Path(f"/run/netns/bystander-{os.getpid()}").exists()
    assert clean.answer(clean.CleanParams()).labs == []


def test_the_next_lab_clears_a_killed_one_away() -> None:
    record, _ = killed()
    params = {"clients": ["curl"], "faults": ["rst"], "runs": 1, "ladder": "short", "cap": 10}
    run = runs.create(Job(task="failover", params=params), "lab on this machine")
    last = perform(run, Lab(), confirm=AGREED)
    assert isinstance(last, Finished), last
    assert_nothing_left(record)


def test_processes_that_outlived_their_lab_are_ended_with_their_namespaces(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    """Nothing should outlive a lab; this one does, as if the kernel had not heard: it is found by its mark."""
    token = "0123456789abcdef01234567"
    gone = Holder(pid=os.getpid(), started=1, boot=boot_id(), run="a-run-that-is-gone")
    record = registry.Record(token, gone, str(tmp_path), str(tmp_path / "scratch"))
    Path(record.scratch).mkdir()
    registry.folder().mkdir(parents=True)
    (registry.folder() / f"{token}.json").write_bytes(msgspec.json.encode(record))
    survivor = subprocess.Popen(
        [*namespaces.command(), "sleep", "600"], env={**os.environ, registry.MARK: token}, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(marked(token)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    spaces = {network(pid) for pid in marked(token)}
    swept = registry.sweep()
    assert survivor.pid in swept.processes
    survivor.wait(120)
    assert_nothing_left(record)
    left = [link for link in Path("/proc").glob("[0-9]*/ns/net") if link.exists()]
    ours = {network(os.getpid())}
    assert not (spaces - ours) & {str(link.readlink()) for link in left if link.exists()}
    assert bystander.poll() is None


def test_a_lab_that_is_stopped_in_mid_measurement_leaves_nothing() -> None:
    run = runs.create(Job(task="failover", params=PARAMS), "lab on this machine")
    stop = Stop()
    records = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Measured) and entry.event.kind == "syn":
            records.extend(registry.folder().glob("*.json"))
            stop.ask()

    last = perform(run, Lab(), stop=stop, listen=listen, confirm=AGREED)
    assert isinstance(last, RunStopped), last
    assert last.left_behind == ()
    assert records
    assert marked(records[0].stem) == []
    assert list(registry.folder().iterdir()) == []


def test_a_lab_at_work_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with registry.recorded(tmp_path / "run") as record:
        swept = registry.sweep()
        assert swept.at_work == [record.holder.run]
        assert swept.labs == []
        assert Path(record.scratch).exists()
    assert not Path(record.scratch).exists()
    assert start_time(os.getpid()) == record.holder.started


def test_a_scratch_that_holds_files_is_never_removed(tmp_path: Path) -> None:
    """A record that names a user's folder, by mistake or malice, removes nothing."""
    token = "fedcba987654321001234567"
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "only-copy").write_text("data")
    gone = Holder(pid=1, started=1, boot=boot_id(), run="gone")
    registry.folder().mkdir(parents=True)
    record = registry.Record(token, gone, str(tmp_path), str(tmp_path / "precious"))
    (registry.folder() / f"{token}.json").write_bytes(msgspec.json.encode(record))
    registry.sweep()
    assert (tmp_path / "precious" / "only-copy").read_text() == "data"
