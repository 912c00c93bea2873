"""Full disks, broken disks and a second run: a clear word, and every point as it was."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.backup.commands import made_points
from engines.job.contract import Finished, Log, RunFailed, RunStopped
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.restoring.test_restore import loop


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
    proven = lab.verified(repo=repo)
    assert proven["hit"] == [] and proven["faults"] == [], "what did not fit stands behind no footer"
    lab.done("backup-gc", repo=repo)


def fill(place: Path) -> Path:
    """A file that takes the last byte of a disk."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (MIB, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)):
                    pass
    return filler


def test_a_repository_without_a_byte_left_is_still_read_and_all_else_says_what_helps(
    tmp_path: Path, small_disk: Path
) -> None:
    repo = lab.init(small_disk / "repo", pack=2 * MIB)
    source = lab.disk(tmp_path / "disk", {number: number for number in range(4)}, 4 * MIB)
    first = lab.backup(repo, source)
    filler = fill(small_disk)
    assert lab.content(repo, first) == source.read_bytes()
    assert lab.verified(repo=repo)["whole"] == 1
    for task, params in (
        ("backup", {"source": str(source), "vm": "web1", "limit": "none"}),
        ("backup-prune", {"drop": (first,)}),
        ("backup-gc", {}),
    ):
        _, last = lab.perform_job(task, repo=repo, **params)
        assert isinstance(last, RunFailed), task
        assert "is full to the last byte" in last.why
        assert "off that disk" in last.what_helps
    filler.unlink()
    lab.done("backup-prune", repo=repo, drop=(first,))
    assert lab.done("backup-gc", repo=repo)["freed"] > MIB


@pytest.mark.parametrize("needed", [True, False])
def test_gc_writes_anew_what_is_needed_of_a_pack_with_a_broken_end_and_deletes_the_rest(
    tmp_path: Path, needed: bool
) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {number: number for number in range(4)}, 4 * MIB)
    point = lab.backup(repo, source)
    (broken,) = Path(repo, "packs").glob("*.pack")
    with broken.open("ab") as stream:
        stream.write(bytes(1000))
    if not needed:
        lab.done("backup-prune", repo=repo, drop=(point,))
    lab.done("backup-gc", repo=repo)
    assert not broken.exists()
    if needed:
        assert lab.content(repo, point) == source.read_bytes()
    assert lab.verified(repo=repo)["faults"] == []


def test_a_record_in_quarantine_that_reads_right_again_is_used_again(tmp_path: Path) -> None:
    """As after a cable or a memory module was changed."""
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {number: number for number in range(4)}, 4 * MIB)
    point = lab.backup(repo, source)
    before = source.read_bytes()
    (pack,) = Path(repo, "packs").glob("*.pack")
    lab.disk(source, {number: 10 + number for number in range(4)}, 4 * MIB)
    lab.backup(repo, source)
    content = pack.read_bytes()
    pack.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    for _ in range(2):
        assert lab.verified(repo=repo)["hit"] == [point]
    pack.write_bytes(content)
    proven = lab.verified(repo=repo)
    assert proven["hit"] == [] and proven["bad"] == 0 and proven["whole"] == 2
    assert lab.content(repo, point) == before


def test_an_export_that_finds_no_room_leaves_nothing_and_says_what_it_needs(tmp_path: Path, small_disk: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, lab.disk(tmp_path / "disk", {number: number for number in range(64)}, 64 * lab.MIB))
    before = sorted(small_disk.iterdir())
    _, last = lab.perform_job("backup-export", repo=repo, point=point, file=str(small_disk / "web1.tar"))
    assert isinstance(last, RunFailed) and "twice what the point stores" in last.what_helps
    assert sorted(small_disk.iterdir()) == before


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


def test_an_undone_backup_takes_out_what_a_kill_left_unnoted_too(tmp_path: Path) -> None:
    """As after SIGKILL between the rename of the point and its note; another run's point stays."""
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    other = lab.backup(repo, source)
    params = {"repo": repo, "source": str(source), "vm": "web1", "limit": "none"}
    run, _ = lab.perform_job("backup", **params)  # type: ignore[arg-type]
    note = run.folder / made_points.NOTE
    said = json.loads(note.read_bytes())
    assert len(said["sessions"]) == 1
    note.write_text(json.dumps({**said, "points": []}))
    _, last = lab.perform_job("backup", mode="undo", earlier=run.id, **params)  # type: ignore[arg-type]
    assert isinstance(last, Finished) and said["points"][0] in last.summary
    with lab.opened(repo) as repository:
        assert [str(name) for name in repository.names()] == [other]
