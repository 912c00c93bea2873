"""Full disks, broken disks and a second run: a clear word, and every point as it was."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.job.contract import Finished, Log, RunFailed, RunStopped
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.test_restore import loop


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB for a repository."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "crashcart-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_repository_that_fills_up_keeps_its_points_and_goes_on_with_more_room(
    tmp_path: Path, small_disk: Path
) -> None:
    repo = lab.init(small_disk / "repo", pack=4 * MIB)
    source = lab.disk(tmp_path / "disk", {at: at for at in range(8)}, 64 * MIB)
    first = lab.backup(repo, source)
    before = source.read_bytes()
    lab.disk(source, {at: 100 + at for at in range(60)}, 64 * MIB)
    _, last = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none")
    assert isinstance(last, RunFailed), last
    assert "full" in last.why
    assert last.what_helps
    assert [str(name) for name in lab.opened(repo).names()] == [first]
    assert lab.content(repo, first) == before
    subprocess.run(["mount", "-o", "remount,size=128m", str(small_disk)], check=True)
    point = lab.backup(repo, source)
    assert lab.content(repo, point) == source.read_bytes()
    assert lab.content(repo, first) == before
    assert lab.done("backup-verify", repo=repo)["hit"] == []


def test_a_full_repository_is_freed_by_prune_and_gc_alone(tmp_path: Path, small_disk: Path) -> None:
    repo = lab.init(small_disk / "repo", pack=2 * MIB)
    source = tmp_path / "disk"
    held = []
    for at in range(3):
        lab.disk(source, {number: at * 100 + number for number in range(8)}, 8 * MIB)
        held.append((lab.backup(repo, source), source.read_bytes()))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            stream.flush()
    filler.open("r+b").truncate(filler.stat().st_size - 64 * 1024)
    lab.done("backup-prune", repo=repo, keep_last=1)
    lab.done("backup-gc", repo=repo)
    assert lab.content(repo, held[-1][0]) == held[-1][1]
    assert sum(lab.packs(repo).values()) < 8 * MIB


def test_a_device_that_cannot_be_read_is_named_and_makes_no_point(tmp_path: Path) -> None:
    """A loop device whose file was cut answers EIO behind the cut."""
    backing = lab.disk(tmp_path / "backing", {at: at for at in range(20)}, 20 * MIB)
    repo = lab.init(tmp_path / "repo")
    with loop(backing) as device:
        good = lab.backup(repo, device)
        whole = backing.read_bytes()
        os.truncate(backing, 10 * MIB)
        subprocess.run(["blockdev", "--flushbufs", str(device)], check=True)
        run, last = lab.perform_job("backup", repo=repo, source=str(device), vm="web1", limit="none")
    assert isinstance(last, RunFailed), last
    assert "cannot be read at byte" in last.why
    assert [str(name) for name in lab.opened(repo).names()] == [good]
    assert lab.content(repo, good) == whole
    assert run.status() == "failed"


def test_a_second_backup_of_one_disk_names_the_one_that_runs(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    seen = []

    def again(entry: Entry) -> None:
        if isinstance(entry.event, Log) and not seen:
            seen.append(lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none")[1])

    run, last = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none", listen=again)
    assert isinstance(last, Finished)
    (other,) = seen
    assert isinstance(other, RunFailed)
    assert run.id in other.why


def test_a_stopped_backup_says_what_is_kept_and_the_next_goes_on_from_there(tmp_path: Path) -> None:
    source = lab.cold(lab.disk(tmp_path / "disk", {at: at for at in range(60)}, 60 * MIB))
    repo = lab.init(tmp_path / "repo")
    stop = Stop()
    seen = []

    def ask(entry: Entry) -> None:
        seen.append(entry)
        if len(seen) > 4:
            stop.ask()

    run, last = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="40M", stop=stop, listen=ask)
    assert isinstance(last, RunStopped), last
    assert last.left_behind
    kept = sum(lab.packs(repo).values())
    assert kept
    _, last = lab.perform_job(
        "backup", mode="resume", earlier=run.id, repo=repo, source=str(source), vm="web1", limit="40M"
    )
    assert isinstance(last, Finished), last
    assert last.result["stored"] + kept < 31 * MIB
    assert lab.content(repo, last.result["point"]) == source.read_bytes()


def test_an_undone_backup_takes_its_point_out(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    params = {"repo": repo, "source": str(source), "vm": "web1", "limit": "none"}
    run, _ = lab.perform_job("backup", **params)  # type: ignore[arg-type]
    _, last = lab.perform_job("backup", mode="undo", earlier=run.id, **params)  # type: ignore[arg-type]
    assert isinstance(last, Finished)
    assert lab.opened(repo).names() == []
