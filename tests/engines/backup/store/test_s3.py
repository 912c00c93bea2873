"""The whole engine over a real S3 server, and what a bucket's refusals say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.backup.repository import config
from engines.backup.store.s3.store import S3Store, open_s3
from engines.backup.upkeep.newest import newest
from engines.job import runs
from engines.job.contract import Finished, Progress, RunFailed
from engines.job.errors import Refused
from engines.job.journal import Entry
from tests.engines.backup import lab
from tests.engines.backup.store.weed import KEY, SECRET, Weed

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture
def store(bucket: str) -> S3Store:
    return open_s3(f"s3://{bucket}/r")


def restored(repo: str, point: str, target: Path) -> bytes:
    lab.done("backup-restore", point=point, target=str(target), repo=repo)
    return target.read_bytes()


def test_backup_change_incremental_restore_verify_prune_gc_and_undo(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/servers/ams"
    made = lab.done("backup-init", repo=repo)
    assert config.load(open_s3(repo)).pack == 64 * MIB and made["repo"] == repo
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2, 40: 3}, SIZE)
    before = source.read_bytes()
    first = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    lab.disk(source, {0: 1, 7: 9, 40: 3}, SIZE)
    second = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert second["changed"] == MIB
    assert restored(repo, first["point"], tmp_path / "one") == before
    assert restored(repo, second["point"], tmp_path / "two") == source.read_bytes()
    lab.done("backup-verify", repo=repo)
    pruned, _ = lab.perform_job("backup-prune", repo=repo, keep_last=1)
    lab.perform_job("backup-prune", mode="undo", earlier=pruned.id, repo=repo, keep_last=1)
    assert restored(repo, first["point"], tmp_path / "again") == before
    lab.done("backup-prune", repo=repo, keep_last=1)
    lab.done("backup-gc", repo=repo)
    assert restored(repo, "web/disk0@latest", tmp_path / "three") == source.read_bytes()
    assert not list(open_s3(repo).names("pruned"))
    assert not list(open_s3(repo).bucket.listed("temporary"))


def test_a_newest_point_whose_packs_are_gone_or_emptied_in_a_bucket_is_in_trouble(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2}, 8 * MIB)
    lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    store = open_s3(repo)
    pack = max(store.sizes("packs"), key=lambda one: one[1])[0]
    whole = bytes(store.read(pack))

    def trouble() -> str:
        with lab.opened(repo) as repository:
            (one,) = newest(repository)
        assert bool(one.trouble) == (one.good is None)
        return one.trouble

    assert not trouble()
    for left in (whole[:-1], whole[: MIB // 2], b""):
        store.put(pack, left)
        assert trouble(), len(left)
    store.delete(pack)
    assert trouble()
    store.put(pack, whole)
    assert not trouble()


def test_a_job_and_its_report_name_no_key(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1}, 4 * MIB)
    lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    for run in runs.every():
        for path in run.folder.rglob("*"):
            assert not path.is_file() or (
                SECRET.encode() not in path.read_bytes() and KEY.encode() not in path.read_bytes()
            )


# ── the server goes away ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own_weed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weed]:
    """A server that a test may kill."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "weed"
    folder.mkdir()
    with Weed(folder) as running:
        running.bucket("vault")
        yield running


def test_a_server_that_is_killed_and_comes_back_costs_nothing_but_time(own_weed: Weed, tmp_path: Path) -> None:
    own_weed.allow("vault", patience=300)
    repo = "s3://vault/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(64)}, SIZE)

    gone = threading.Event()

    def leave(entry: Entry) -> None:
        if isinstance(entry.event, Progress) and not gone.is_set():
            own_weed.stop()
            gone.set()

    with ThreadPoolExecutor(1) as running:
        backup = running.submit(
            lab.perform_job, "backup", source=str(source), repo=repo, vm="web", limit="24M", listen=leave
        )
        assert gone.wait(300)
        own_weed.start()  # in the thread that lives on: the server dies with the one that started it
        _, last = backup.result()
    assert isinstance(last, Finished), last
    made = last.result
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()


def test_a_server_that_goes_away_in_mid_run_shows_no_point_and_the_next_run_is_whole(
    own_weed: Weed, tmp_path: Path
) -> None:
    own_weed.allow("vault", patience=2)
    repo = "s3://vault/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(64)}, SIZE)
    gone = threading.Event()

    def leave(entry: Entry) -> None:
        if isinstance(entry.event, Progress) and not gone.is_set():
            gone.set()
            own_weed.stop()

    _, last = lab.perform_job("backup", source=str(source), repo=repo, vm="web", limit="16M", listen=leave)
    assert gone.is_set()
    assert isinstance(last, RunFailed), last
    assert "bucket vault" in last.why and "fault of crashcart" not in last.what_helps
    with pytest.raises(Refused, match=f"bucket vault at 127.0.0.1:{own_weed.port} was not reached"):
        lab.perform_job("backup", source=str(source), repo=repo, vm="web", limit="none")
    own_weed.start()
    own_weed.allow("vault", patience=120)
    assert not list(open_s3(repo).names("points"))
    made = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()


# ── the access ──────────────────────────────────────────────────────────────────────────────────────
