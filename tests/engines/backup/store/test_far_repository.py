"""The whole engine over a real sshd: there and back, and a transfer that is cut is taken up without storing twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.backup.store.sftp import access, shared
from engines.backup.upkeep.newest import newest
from engines.job import runs
from engines.job.contract import RunFailed
from tests.engines.backup import lab
from tests.engines.backup.store.sshd import Sshd

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Sshd(folder) as running:
        path = access.access_file()
        path.parent.mkdir(parents=True)
        entry = {"key_file": str(folder / "key"), "host_key": running.fingerprint, "patience": 10}
        path.write_text(yaml.safe_dump({running.place: entry}))
        yield running


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def packs(far: Path) -> int:
    return sum(path.stat().st_size for path in far.rglob("*.pack"))


def restored(repo: str, point: str, target: Path) -> bytes:
    lab.done("backup-restore", point=point, target=str(target), repo=repo)
    return target.read_bytes()


def test_backup_change_incremental_restore_verify_and_prune_over_sftp(sshd: Sshd, tmp_path: Path) -> None:
    far = tmp_path / "far"
    repo = sshd.url(far)
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2, 40: 3}, SIZE)
    before = source.read_bytes()
    first = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    lab.disk(source, {0: 1, 7: 9, 40: 3}, SIZE)
    second = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert second["changed"] == MIB
    assert restored(repo, first["point"], tmp_path / "one") == before
    assert restored(repo, second["point"], tmp_path / "two") == source.read_bytes()
    lab.verified(repo=repo)
    lab.done("backup-prune", repo=repo, keep_last=1)
    lab.done("backup-gc", repo=repo)
    assert restored(repo, "web/disk0@latest", tmp_path / "three") == source.read_bytes()
    assert not [path for path in far.rglob("*") if path.name.startswith(".tmp-")]


def test_a_newest_point_whose_packs_are_gone_or_emptied_far_away_is_in_trouble(sshd: Sshd, tmp_path: Path) -> None:
    far = tmp_path / "far"
    repo = sshd.url(far)
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2}, 8 * MIB)
    lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    pack = max(far.rglob("*.pack"), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()

    def trouble() -> str:
        with lab.opened(repo) as repository:
            (one,) = newest(repository)
        assert bool(one.trouble) == (one.good is None)
        return one.trouble

    assert not trouble()
    for left in (whole[:-1], whole[: MIB // 2], b""):
        pack.write_bytes(left)
        assert trouble(), len(left)
    pack.unlink()
    assert trouble()
    pack.write_bytes(whole)
    assert not trouble()


def test_a_run_logs_in_once_from_its_plan_to_its_last_word(sshd: Sshd, tmp_path: Path) -> None:
    repo = sshd.url(tmp_path / "far")
    lab.done("backup-init", repo=repo)
    shared.hang_up()
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2}, 8 * MIB)
    works: dict[str, dict[str, Any]] = {
        "backup": {"source": str(source), "vm": "web", "limit": "none"},
        "backup-restore": {"point": "web/disk0@latest", "target": str(tmp_path / "back"), "verify": True},
        "backup-verify": {},
        "backup-prune": {"keep_last": 1},
        "backup-gc": {},
    }
    for task, params in works.items():
        before = sshd.logins()
        lab.done(task, repo=repo, **params)
        assert sshd.logins() == before + 1, task
        shared.hang_up()


def test_a_first_backup_whose_line_is_cut_again_and_again_makes_a_whole_point(sshd: Sshd, tmp_path: Path) -> None:
    far = tmp_path / "far"
    repo = sshd.url(far)
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(64)}, SIZE)
    stop = threading.Event()
    cuts: list[int] = []

    def cutting() -> None:
        """Three times, each when the transfer has got further: a line needs a moment to come back."""
        while len(cuts) < 3 and not stop.wait(0.02):
            there = sum(path.stat().st_size for path in far.rglob("*.part"))
            if there > (len(cuts) + 1) * 5 * MIB and sshd.cut():
                cuts.append(there)

    cutter = threading.Thread(target=cutting)
    cutter.start()
    try:
        made = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none", uplink="8M")
    finally:
        stop.set()
        cutter.join()
    assert len(cuts) == 3
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()


def test_a_backup_whose_far_side_goes_away_shows_no_point_and_the_next_stores_nothing_twice(
    sshd: Sshd, tmp_path: Path
) -> None:
    far = tmp_path / "far"
    repo = sshd.url(far)
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(64)}, SIZE)

    def leave() -> None:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if sum(path.stat().st_size for path in far.rglob("*.part")) > 8 * MIB:
                sshd.stop()
                return
            time.sleep(0.02)

    leaver = threading.Thread(target=leave)
    leaver.start()
    _, last = lab.perform_job("backup", source=str(source), repo=repo, vm="web", limit="none", uplink="8M")
    leaver.join()
    assert isinstance(last, RunFailed), last
    assert f"127.0.0.1:{sshd.port}" in last.why
    assert not any(far.rglob("*.point"))
    stored = sum(path.stat().st_size for path in far.rglob("*.part"))
    assert stored > 4 * MIB
    sshd.start()
    made = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()
    whole = packs(far)
    clean = sshd.url(tmp_path / "clean")
    lab.done("backup-init", repo=clean)
    lab.done("backup", source=str(source), repo=clean, vm="web", limit="none")
    assert whole < packs(tmp_path / "clean") * 1.05
    assert runs.every()
