"""Restoring: onto files and devices, whole and by difference, and never onto what is in use."""

from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

import pytest

from engines import tasks
from engines.backup.pages import page_cache
from engines.backup.restoring.target import Target, beside
from engines.job.contract import Cancel, Finished, RunFailed, RunStopped, StepStarted
from engines.job.errors import Refused
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import Stop
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.restoring.loop import loop


def test_a_restored_file_is_as_sparse_as_the_disk_was(tmp_path: Path, staged: tuple[str, str, bytes]) -> None:
    repo, point, wanted = staged
    target = tmp_path / "out"
    lab.done("backup-restore", repo=repo, point=point, target=str(target), verify=True)
    assert target.read_bytes() == wanted
    assert target.stat().st_blocks * 512 <= 6 * MIB + 65536


def _cached(path: Path) -> int:
    """Bytes of it in the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return page_cache.resident(descriptor, 0, path.stat().st_size)
    finally:
        os.close(descriptor)


def test_a_restore_and_a_verify_leave_neither_packs_nor_target_in_the_page_cache(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at + 1 for at in range(24)}, 24 * MIB - 1536)
    repo = lab.init(tmp_path / "repo")
    point, target = lab.backup(repo, source), tmp_path / "out"
    packs = [lab.cold(path) for path in Path(repo, "packs").iterdir()]
    lab.done("backup-restore", repo=repo, point=point, target=str(target))
    assert sum(map(_cached, packs)) < MIB, "of 13 MiB: the footers, and what the kernel reads beside them"
    lab.verified(repo=repo)
    assert sum(map(_cached, packs)) < MIB, "their first bytes, too"
    assert _cached(target) < MIB, "of 24 MiB: the odd end"
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("offset", "shift"), [(4096, 0), (512, 0), (4096, 8)])
def test_what_cannot_go_past_the_page_cache_goes_through_it(tmp_path: Path, offset: int, shift: int) -> None:
    page = memoryview(mmap.mmap(-1, 3 * 4096))
    page[:] = os.urandom(len(page))
    body = page[shift : shift + 4096 + 1000]
    target = Target(tmp_path / "out", 16384, in_place=False)
    try:
        target.write(offset, body)
        target.finish()
    finally:
        target.close()
    assert (tmp_path / "out").read_bytes()[offset : offset + len(body)] == bytes(body)


def test_a_block_device_is_backed_up_and_restored(tmp_path: Path, staged: tuple[str, str, bytes]) -> None:
    repo, _, wanted = staged
    (tmp_path / "source").write_bytes(wanted)
    backing = tmp_path / "backing"
    backing.write_bytes(b"\xaa" * (24 * MIB))
    with loop(tmp_path / "source") as source:
        point = lab.backup(repo, source, vm="dev")
    with loop(backing) as device:
        found = lab.done("backup-restore", repo=repo, point=point, target=str(device), verify=True)
    assert backing.read_bytes()[: len(wanted)] == wanted
    assert backing.stat().st_blocks * 512 < 10 * MIB, "zeros were discarded, so a thin target stays thin"
    assert found["written"] >= 6 * MIB - 1536


@pytest.mark.parametrize("on_device", [False, True])
def test_delta_writes_only_what_differs(tmp_path: Path, staged: tuple[str, str, bytes], on_device: bool) -> None:
    repo, point, wanted = staged
    target = tmp_path / "target"
    changed = bytearray(wanted)
    changed[9 * MIB + 5] ^= 1
    changed[4 * MIB] = 7
    target.write_bytes(bytes(changed))
    if on_device:
        with loop(target) as device:
            found = lab.done("backup-restore", repo=repo, point=point, target=str(device), delta=True)
    else:
        found = lab.done("backup-restore", repo=repo, point=point, target=str(target), delta=True)
    assert target.read_bytes() == wanted
    assert found["written"] == MIB


@pytest.mark.parametrize("size", [1, 30 * MIB])
def test_delta_onto_a_file_of_another_size_makes_it_the_disk(
    tmp_path: Path, staged: tuple[str, str, bytes], size: int
) -> None:
    repo, point, wanted = staged
    target = tmp_path / "target"
    target.write_bytes(b"\x55" * size)
    lab.done("backup-restore", repo=repo, point=point, target=str(target), delta=True)
    assert target.read_bytes() == wanted


def test_a_replaced_file_keeps_its_owner_and_mode_and_waits_for_the_word(
    tmp_path: Path, staged: tuple[str, str, bytes]
) -> None:
    import os

    from engines import tasks
    from engines.job.contract import Cancel
    from engines.job.params import convert

    repo, point, wanted = staged
    target = tmp_path / "target"
    target.write_bytes(b"old")
    target.chmod(0o640)
    os.chown(target, 1234, 4321)
    engine = tasks.engine("backup-restore")
    plan = engine.plan(convert(engine.params, {"repo": repo, "point": point, "target": str(target)}), Cancel())
    assert plan.confirm == target.name
    assert "cannot" in plan.undo
    lab.done("backup-restore", repo=repo, point=point, target=str(target))
    found = target.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 1234, 4321)
    assert target.read_bytes() == wanted


def test_a_device_that_is_too_small_is_refused_before_the_word_is_typed_with_the_volume_to_make(
    tmp_path: Path, staged: tuple[str, str, bytes]
) -> None:
    repo, point, _ = staged
    small = tmp_path / "small"
    small.write_bytes(b"\xaa" * (8 * MIB))
    engine = tasks.engine("backup-restore")
    with loop(small) as device, pytest.raises(Refused) as caught:
        engine.plan(convert(engine.params, {"repo": repo, "point": point, "target": str(device)}), Cancel())
    assert "lvcreate" in caught.value.what_helps
    assert small.read_bytes() == b"\xaa" * (8 * MIB)


def test_a_target_in_use_is_refused(tmp_path: Path, staged: tuple[str, str, bytes]) -> None:
    repo, point, _ = staged
    target = tmp_path / "target"
    target.write_bytes(bytes(24 * MIB))
    with loop(target) as device:
        with pytest.raises(Refused, match=r"attached to.*or restore to a new file"):
            lab.perform_job("backup-restore", repo=repo, point=point, target=str(target))
        subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
        folder = tmp_path / "mnt"
        folder.mkdir()
        subprocess.run(["mount", str(device), str(folder)], check=True)
        try:
            with pytest.raises(Refused, match=r"mounted.*or restore to a new volume: lvcreate -L 24576k"):
                lab.perform_job("backup-restore", repo=repo, point=point, target=str(device))
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    words = f"exec 3<>{target}; echo open; exec sleep 600"
    with subprocess.Popen(["sh", "-c", words], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        with pytest.raises(Refused, match="open for writing"):
            lab.perform_job("backup-restore", repo=repo, point=point, target=str(target))
        reader.kill()


def test_a_stopped_restore_leaves_a_file_as_it_was_and_names_a_half_written_device(
    tmp_path: Path, staged: tuple[str, str, bytes]
) -> None:
    repo, point, wanted = staged
    target = tmp_path / "target"
    target.write_bytes(b"old")
    stop = Stop()

    def ask(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted):
            stop.ask()

    _, last = lab.perform_job("backup-restore", repo=repo, point=point, target=str(target), stop=stop, listen=ask)
    assert isinstance(last, RunStopped)
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    backing = tmp_path / "backing"
    backing.write_bytes(b"\xaa" * (24 * MIB))
    with loop(backing) as device:
        stop = Stop()
        run, last = lab.perform_job("backup-restore", repo=repo, point=point, target=str(device), stop=stop, listen=ask)
        assert isinstance(last, RunStopped)
        _, last = lab.perform_job(
            "backup-restore", mode="resume", earlier=run.id, repo=repo, point=point, target=str(device)
        )
        assert isinstance(last, Finished), last
    assert backing.read_bytes()[: len(wanted)] == wanted


def test_a_new_file_is_taken_back_and_an_overwritten_one_is_not(tmp_path: Path, staged: tuple[str, str, bytes]) -> None:
    repo, point, _ = staged
    target = tmp_path / "new"
    run, _ = lab.perform_job("backup-restore", repo=repo, point=point, target=str(target))
    target.unlink()
    target.write_bytes(b"theirs")  # put there since, often under the number of the inode that has just become free
    beside(target).write_bytes(b"half")
    _, last = lab.followed(run, "undo")
    assert isinstance(last, Finished) and "stays" in last.summary
    assert target.read_bytes() == b"theirs" and not beside(target).exists()
    target.unlink()
    stop = Stop()
    run, last = lab.perform_job(
        "backup-restore", repo=repo, point=point, target=str(target), stop=stop, listen=lab.stops_at("write", stop)
    )
    assert isinstance(last, RunStopped) and not target.exists()
    again, last = lab.followed(run, "resume")
    assert isinstance(last, Finished) and target.exists()
    away = Path(repo).rename(tmp_path / "away")
    try:
        _, last = lab.followed(again, "undo")
    finally:
        away.rename(repo)
    assert isinstance(last, Finished) and not target.exists(), last
    target.write_bytes(b"old")
    run, _ = lab.perform_job("backup-restore", repo=repo, point=point, target=str(target))
    _, last = lab.perform_job("backup-restore", mode="undo", earlier=run.id, repo=repo, point=point, target=str(target))
    assert isinstance(last, RunFailed)
    assert last.what_helps


@pytest.mark.parametrize("existed", [False, True])
def test_a_restore_that_was_killed_behind_its_last_rename_has_nothing_left_to_do(
    tmp_path: Path, staged: tuple[str, str, bytes], existed: bool
) -> None:
    repo, point, wanted = staged
    target = tmp_path / "target"
    if existed:
        target.write_bytes(b"old")
    words = {"repo": repo, "point": point, "target": str(target), "verify": True}
    run, _ = lab.perform_job("backup-restore", **words)
    inode = target.stat().st_ino
    _, last = lab.perform_job("backup-restore", mode="resume", earlier=run.id, **words)
    assert isinstance(last, Finished), last
    assert (last.result["written"], last.result["same"]) == (0, len(wanted))
    assert target.stat().st_ino == inode and target.read_bytes() == wanted
    other = bytearray(wanted)
    other[11 * MIB] ^= 1
    target.unlink()
    target.write_bytes(other)
    _, last = lab.perform_job("backup-restore", mode="resume", earlier=run.id, **words)
    assert isinstance(last, RunFailed) and "is another by now" in last.why
    assert target.read_bytes() == other


def test_a_damaged_block_is_never_written_out(tmp_path: Path, staged: tuple[str, str, bytes]) -> None:
    repo, point, _ = staged
    pack = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[200] ^= 1
    pack.write_bytes(raw)
    target = tmp_path / "out"
    _, last = lab.perform_job("backup-restore", repo=repo, point=point, target=str(target))
    assert isinstance(last, RunFailed)
    assert f"{pack.name} at 64" in last.why
    assert not target.exists()
