"""lock and rewind are held to what tests/contract holds all others to: looking writes nothing, a kill costs time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest

from engines.backup.names import stamp
from engines.backup.store.s3.versions import ObjectVersions
from engines.job import runs
from engines.job.contract import Finished
from tests.engines.backup import lab
from tests.engines.backup.store.striking import Striking
from tests.engines.backup.store.weed import Weed

MIB = 1 << 20
SIZE = 8 * MIB


@pytest.fixture
def line(weed: Weed, vault: str) -> Iterator[Striking]:
    made = Striking(weed.port)
    weed.allow(vault.split("/")[2], endpoint=f"http://127.0.0.1:{made.port}", patience=60)
    yield made
    made.close()


def killed(line: Striking, at: int, *words: str) -> bool:
    """The command, killed as its `at`th request goes up; False where it had ended before."""
    begun, work = threading.Event(), list[subprocess.Popen[bytes]]()

    def strike() -> None:
        begun.wait(60)
        work[0].kill()
        work[0].wait()

    line.arm(at, strike)
    argv = [sys.executable, "-m", "engines.cli", "backup", *words]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        work.append(process)
        begun.set()
        said = process.stderr.read() if process.stderr else b""
    assert process.returncode in (0, -9), said.decode()
    return process.returncode == -9


def files(place: Path) -> set[str]:
    return {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file() and "session" not in str(file)}


def two_points(vault: str, tmp_path: Path) -> tuple[str, bytes]:
    source = tmp_path / "disk"
    for _ in range(2):
        source.write_bytes(os.urandom(SIZE))
        point = lab.backup(vault, source)
    return point, source.read_bytes()


def test_a_rewind_that_is_killed_is_no_repository_until_it_is_whole(vault: str, line: Striking, tmp_path: Path) -> None:
    point, content = two_points(vault, tmp_path)
    at, whole, into = stamp(time() + 60), tmp_path / "whole", tmp_path / "back"
    before = ObjectVersions(vault).every()
    line.arm(0, lambda: None)
    lab.done("backup-rewind", repo=vault, at=at, into=str(whole))
    assert ObjectVersions(vault).every() == before, "it only reads"
    assert killed(line, line.requests * 2 // 3, "rewind", vault, "--at", at, "--into", str(into))
    if (into / "config.json").exists():
        assert lab.content(str(into), point) == content, "it is a repository once it is whole"
    for run in runs.interrupted():
        _, ended = lab.followed(run, "resume")
        assert isinstance(ended, Finished), ended
    assert lab.content(str(into), point) == content
    assert files(into) == files(whole)


def test_a_lock_that_is_killed_is_finished_by_the_next(vault: str, line: Striking, tmp_path: Path) -> None:
    two_points(vault, tmp_path)
    assert killed(line, 24, "lock", vault, "--days", "2"), "well within its work"
    done = lab.done("backup-lock", repo=vault, days=2)
    assert done["renewed"] <= done["files"]
    versions = ObjectVersions(vault)
    names = [name for name in versions.every() if name.endswith((".pack", ".point")) or name == "config.json"]
    assert len(names) >= 5 and all(versions.locked_until(name) > time() + 86400 for name in names)
    assert lab.done("backup-lock", repo=vault, days=2)["renewed"] == 0
