"""What a job file would run on this machine is shown and agreed to before anything of it runs, the plan, too."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.crashcart import ARGV, ROOT, crashcart


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A switch that is not there, so that its console is tried at once."""
    password = tmp_path / "password"
    password.write_text("x\n")
    password.chmod(0o600)
    path = tmp_path / "job.yaml"
    path.write_text(
        "task: vdx\n"
        f"params: {{switch: '127.0.0.1:1', user: admin, interface: te 1/0/5, mate: '127.0.0.2:1', "
        f"password_file: {password}, console: 'touch {tmp_path}/ran'}}\n"
    )
    return path


@pytest.mark.parametrize("way", [(), ("--dry-run",), ("--json",), ("--dry-run", "--json"), ("--detach",), ("--quiet",)])
def test_a_job_runs_no_command_that_nobody_agreed_to(job: Path, way: tuple[str, ...]) -> None:
    ran = crashcart("run", str(job), *way)
    assert ran.returncode == 2
    assert f"touch {job.parent}/ran" in ran.stderr
    assert "--run-commands" in ran.stderr or "--run-commands" in ran.stdout
    assert not (job.parent / "ran").exists()


def test_a_job_runs_what_was_agreed_to(job: Path) -> None:
    ran = crashcart("run", str(job), "--dry-run", "--run-commands")
    assert ran.returncode == 3, ran.stderr
    assert (job.parent / "ran").exists()


@pytest.mark.parametrize(("word", "runs"), [("no", False), ("", False), ("yes", True)])
def test_at_a_terminal_it_is_asked(job: Path, word: str, runs: bool) -> None:
    screen, terminal = pty.openpty()
    words = [*ARGV, "run", str(job), "--dry-run"]
    with subprocess.Popen(words, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as child:
        os.close(terminal)
        os.write(screen, f"{word}\n".encode())
        child.communicate(timeout=600)
    os.close(screen)
    assert child.returncode == (3 if runs else 2)
    assert (job.parent / "ran").exists() is runs


def test_a_fifo_in_a_job_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.yaml")
    assert crashcart("run", str(tmp_path / "job.yaml"), "--dry-run").returncode in (2, 3)
