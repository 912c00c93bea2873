"""Closed descriptors, full devices, names too long, a folder that is gone: each is said as what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.host import child
from engines.job import runs
from engines.job.errors import blameless

CRASHCART = Path(sys.executable).with_name("crashcart")


def shell(words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", words], capture_output=True, text=True, check=False, timeout=600, env={**os.environ, **env}
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_backup_is_made_and_verified_whatever_is_closed(tmp_path: Path, closed: str) -> None:
    (tmp_path / "disk").write_bytes(os.urandom(1 << 20))
    repo = tmp_path / "repo"
    assert shell(f"{CRASHCART} backup init {repo} {closed}").returncode == 0
    ran = shell(f"{CRASHCART} backup run {tmp_path}/disk --repo {repo} --vm web1 --limit none {closed}")
    assert ran.returncode in (0, 4), ran.stderr
    assert "fault of crashcart" not in ran.stderr
    assert {run.status() for run in runs.every()} <= {"done", "warned"} and len(runs.every()) == 2
    for verb in (f"backup list --repo {repo}", f"backup verify --repo {repo}", "runs", "report last"):
        assert shell(f"{CRASHCART} {verb} {closed}").returncode == 0


def test_what_the_machine_has_no_room_or_name_for_is_no_fault_of_crashcart(tmp_path: Path) -> None:
    for words in (
        f"{CRASHCART} --help > /dev/full",
        f"{CRASHCART} runs --json > /dev/full",
        f"{CRASHCART} run {'x' * 300}.yaml",
        f"{CRASHCART} backup list --repo /{'x' * 300}",
        f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; {CRASHCART} runs; {CRASHCART} backup list --repo r",
        f"ulimit -n 20; {CRASHCART} runs",
        f"ln -s circle {tmp_path}/circle; {CRASHCART} virtio inspect {tmp_path}/circle",
        f"{CRASHCART} biosiso inspect {tmp_path}/circle",
    ):
        ran = shell(words)
        assert "fault of crashcart" not in ran.stderr and "Traceback" not in ran.stderr, (words, ran.stderr)


@pytest.mark.parametrize("words", ["runs", "runs --json", "doctor --json", "completion bash"])
def test_an_answer_that_has_no_room_is_no_success(words: str) -> None:
    """It had been: a report written onto a full disk was empty, and the exit code 0."""
    ran = shell(f"{CRASHCART} {words} > /dev/full")
    assert ran.returncode == 1 and "where stdout leads to: No space left on device" in ran.stderr, ran


def test_a_run_is_done_whether_its_report_s_path_has_room_or_not(tmp_path: Path) -> None:
    ran = shell(f"{CRASHCART} backup init {tmp_path}/repo > /dev/full")
    assert ran.returncode == 0 and "Exception" not in ran.stderr, ran


def test_too_little_memory_is_no_fault_of_crashcart() -> None:
    assert (failed := blameless(MemoryError("interning"))) and "ulimit -v" in failed.what_helps
    assert blameless(ValueError("x")) is None and blameless(OSError(9, "bad")) is None


@pytest.mark.parametrize("words", [("bogus",), ("report", "nothing"), ("--version",)])
def test_an_interrupt_is_no_traceback_while_an_end_is_told_either(words: tuple[str, ...]) -> None:
    text = (
        "import os, signal, sys\n"
        "class Interrupted:\n"
        "    def write(self, text): signal.raise_signal(signal.SIGINT)\n"
        "    def flush(self): pass\n"
        "sys.stdout = sys.stderr = Interrupted()\n"
        f"from engines.cli import main; os._exit(main({list(words)!r}))"
    )
    ran = subprocess.run(child.code(text), env=child.environment(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_with_umask_0_nothing_is_writable_for_others(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(os.urandom(1 << 20))
    shell(f"umask 0; {CRASHCART} backup init {tmp_path}/repo")
    shell(f"umask 0; {CRASHCART} backup run {tmp_path}/disk --repo {tmp_path}/repo --vm web1 --limit none")
    made = [path for path in tmp_path.rglob("*") if not path.is_symlink()]
    assert len(made) > 10
    assert not [path for path in made if path.stat().st_mode & 0o022]
    assert child.ROOT == "/"
