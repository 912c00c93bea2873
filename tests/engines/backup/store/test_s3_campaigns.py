"""Repositories in a bucket that are abused: killed runs and servers, many at once, bit rot, forgeries, no room."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.backup.repository import pack
from engines.backup.repository.repository import Repository
from engines.backup.store.s3.store import S3Store, open_s3
from engines.job.contract import Finished, RunFailed
from engines.job.errors import Failed, Refused
from tests.engines.backup import lab
from tests.engines.backup.store.striking import Striking, started, struck
from tests.engines.backup.store.weed import Weed

MIB = 1 << 20
DISK = 16 * MIB


@pytest.fixture
def line(weed: Weed) -> Iterator[Striking]:
    made = Striking(weed.port)
    yield made
    made.close()


@pytest.fixture
def repo(bucket: str) -> str:
    place = f"s3://{bucket}/r"
    lab.done("backup-init", repo=place)
    return place


def names(repo: str) -> set[str]:
    with Repository.glance(repo) as found:
        return {str(name) for name in found.names()}


class Struck:
    """A repository whose runs are killed at requests that were counted to, and what its points must hold."""

    def __init__(self, repo: str, line: Striking, folder: Path, seed: int) -> None:
        self.repo, self.line, self.folder = repo, line, folder
        self.rng = random.Random(seed)
        self.blocks = {number: number + 1 for number in range(8)}
        self.disk = folder / "disk"
        self.other = lab.init(folder / "other")
        self.known: dict[str, bytes] = {}
        self.kills = 0
        self.longest: dict[str, int] = {}
        for task in ("backup", "backup-copy", "backup-prune", "backup-gc"):
            self.run(task, 0)

    def run(self, task: str, at: int) -> None:
        if task == "backup":
            self.blocks[self.rng.randrange(16)] = self.rng.randrange(1000)
            lab.disk(self.disk, self.blocks, DISK)
        more = {
            "backup": {"source": str(self.disk), "vm": "web1", "limit": "none"},
            "backup-copy": {"to": self.other},
            "backup-prune": {"keep_last": 3},
        }
        hit = struck(self.line, at, task, self.folder / "run", repo=self.repo, **more.get(task, {}))
        self.kills += hit
        if not hit:
            self.longest[task] = self.line.requests
        for name in names(self.repo) - self.known.keys():
            self.known[name] = self.disk.read_bytes()

    def strike(self, task: str, share: float) -> None:
        """Kill it after that share of its requests, then have it go on to its end."""
        self.run(task, 1 + int(share * (self.longest[task] - 1)))
        self.run(task, 0)

    def prove(self) -> None:
        """All that both repositories show is as the disk was."""
        for place in (self.repo, self.other):
            for name in names(place):
                assert lab.content(place, name) == self.known[name], f"{name} in {place}"
            lab.done("backup-verify", repo=place)


def test_runs_that_are_killed_cost_no_point(weed: Weed, bucket: str, repo: str, line: Striking, tmp_path: Path) -> None:
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}")
    abused = Struck(repo, line, tmp_path, 1)
    for task, share in (("backup", 0.6), ("backup", 0.95), ("backup-gc", 0.7), ("backup-copy", 0.5)):
        abused.strike(task, share)
    assert abused.kills >= 3
    abused.prove()


@pytest.mark.soak
def test_two_hundred_kills_cost_no_point(weed: Weed, bucket: str, repo: str, line: Striking, tmp_path: Path) -> None:
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}")
    abused = Struck(repo, line, tmp_path, 2)
    while abused.kills < 200:
        task = abused.rng.choice(("backup", "backup", "backup-copy", "backup-prune", "backup-gc"))
        abused.strike(task, abused.rng.random())
        if abused.kills % 20 == 0:
            abused.prove()
    abused.prove()


def test_backups_of_one_name_in_one_moment_all_get_a_point(repo: str, tmp_path: Path) -> None:
    """Nothing keeps them apart but the bucket."""
    disks = [lab.disk(tmp_path / f"disk{number}", {0: 1, 1: 10 + number}, 4 * MIB) for number in range(3)]
    runs = [
        started("backup", tmp_path / f"run{number}", repo=repo, source=str(disk), vm="web1", limit="none")
        for number, disk in enumerate(disks)
    ]
    assert [run.wait() for run in runs] == [0] * len(runs)
    found = sorted(lab.content(repo, name) for name in names(repo))
    assert found == sorted(disk.read_bytes() for disk in disks)


@pytest.mark.soak
def test_two_gcs_beside_three_writers_lose_nothing(repo: str, tmp_path: Path) -> None:
    ended = threading.Event()

    def write(number: int) -> dict[str, bytes]:
        made, rng = {}, random.Random(number)
        for _ in range(6):
            blocks = {at: rng.randrange(50) for at in range(6)}
            disk = lab.disk(tmp_path / f"disk{number}", blocks, 8 * MIB)
            run = started("backup", tmp_path / f"w{number}", repo=repo, source=str(disk), vm=f"v{number}", limit="none")
            assert run.wait() == 0, (tmp_path / f"w{number}" / "said").read_text()[-2000:]
            made[f"v{number}/disk0@latest"] = disk.read_bytes()
            old = started("backup-prune", tmp_path / f"p{number}", repo=repo, keep_last=2)
            old.wait()
        return made

    def collect(number: int) -> int:
        ran = 0
        while not ended.is_set():
            ran += started("backup-gc", tmp_path / f"g{number}", repo=repo).wait() == 0
        return ran

    with ThreadPoolExecutor(5) as pool:
        collecting = [pool.submit(collect, number) for number in range(2)]
        try:
            made = [one.result() for one in [pool.submit(write, number) for number in range(3)]]
        finally:
            ended.set()
        assert sum(one.result() for one in collecting) > 0
    for each in made:
        for point, content in each.items():
            assert lab.content(repo, point) == content
    lab.done("backup-verify", repo=repo)


# ── the server ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.soak
def test_a_server_that_is_killed_at_any_request_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "weed").mkdir()
    with Weed(tmp_path / "weed") as own:
        line = Striking(own.port)
        own.bucket("vault")
        own.allow("vault", endpoint=f"http://127.0.0.1:{line.port}", patience=120)
        repo = "s3://vault/r"
        lab.done("backup-init", repo=repo)
        rng = random.Random(3)
        for at in (3, 9, 14, 20, 24):
            disk = lab.disk(tmp_path / "disk", {number: rng.randrange(1000) for number in range(16)}, DISK)
            struck_ = threading.Event()
            line.arm(at, struck_.set)
            run = started("backup", tmp_path / "run", repo=repo, source=str(disk), vm="web1", limit="none")
            if struck_.wait(120):
                own.stop()
                own.start()
            assert run.wait() == 0, (tmp_path / "run" / "said").read_text()[-2000:]
            assert lab.content(repo, "web1/disk0@latest") == disk.read_bytes()
        lab.done("backup-verify", repo=repo)
        line.close()


@pytest.mark.soak
def test_a_server_without_room_says_so_and_with_more_room_the_next_run_is_whole(tmp_path: Path) -> None:
    (tmp_path / "weed").mkdir()
    own = Weed(tmp_path / "weed")
    data = str(own.folder / "data")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", data], check=True)
    try:
        own.start()
        own.bucket("vault")
        own.allow("vault", patience=3)
        repo = "s3://vault/r"
        lab.done("backup-init", repo=repo)
        small = lab.disk(tmp_path / "small", {0: 1}, 4 * MIB)
        first = lab.backup(repo, small, vm="db1")
        large = lab.disk(tmp_path / "large", {number: number + 1 for number in range(400)}, 400 * MIB)
        _, last = lab.perform_job("backup", repo=repo, source=str(large), vm="web1", limit="none")
        assert isinstance(last, RunFailed) and "bucket vault" in last.why and "room" in last.what_helps, last
        own.stop()
        subprocess.run(["mount", "-o", "remount,size=1g", data], check=True)
        own.start()
        own.allow("vault", patience=60)
        assert names(repo) == {first} and lab.content(repo, first) == small.read_bytes()
        assert lab.content(repo, lab.backup(repo, large)) == large.read_bytes()
    finally:
        own.stop()
        subprocess.run(["umount", "-l", data], check=True)


# ── what lies in the bucket is not what was written ─────────────────────────────────────────────────


def kept(repo: str, point: str, content: bytes) -> bool:
    """Whether the point comes back; other bytes than it had never do."""
    try:
        found = lab.content(repo, point)
    except (Failed, Refused, AssertionError):
        return False
    assert found == content, "a restore gave other bytes"
    return True


def rotten(store: S3Store, name: str, rng: random.Random) -> bytes:
    """The object as it was, after a bit of it was turned."""
    before = store.read(name)
    raw = bytearray(before)
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    store.put(name, bytes(raw))
    return before


def test_a_bit_that_turns_is_found_and_a_new_backup_heals_it(repo: str, tmp_path: Path) -> None:
    disk = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(12)}, DISK)
    point, store, rng = lab.backup(repo, disk), open_s3(repo), random.Random(4)
    for name in [name for name in store.names("packs") if name.endswith(".pack")] + sorted(store.names("points")):
        before = rotten(store, name, rng)
        _, last = lab.perform_job("backup-verify", repo=repo)
        assert isinstance(last, RunFailed) and "DAMAGED" in last.why, f"{name}: {last}"
        kept(repo, point, disk.read_bytes())
        store.put(name, before)
        lab.perform_job("backup-verify", repo=repo)
        assert kept(repo, point, disk.read_bytes()), f"{name} is right again"
    rotten(store, next(name for name in store.names("packs") if name.endswith(".pack")), rng)
    lab.perform_job("backup-verify", repo=repo)
    assert kept(repo, lab.backup(repo, disk), disk.read_bytes())


def test_forged_packs_are_named_and_change_nothing(repo: str, bucket: str, tmp_path: Path) -> None:
    disk = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(4)}, 4 * MIB)
    point, store = lab.backup(repo, disk), open_s3(repo)
    true = next(name for name in store.names("packs") if name.endswith(".pack"))
    raw, other = store.read(true), f"s3://{bucket}/other"
    lab.done("backup-init", repo=other)
    lab.backup(other, lab.disk(tmp_path / "disk2", {0: 9}, 4 * MIB))
    foreign = next(name for name in open_s3(other).names("packs") if name.endswith(".pack"))
    forged = {
        1: b"", 2: b"x" * 100, 3: raw[:-1], 4: raw[: len(raw) // 2], 5: open_s3(other).read(foreign),
        6: raw[: pack.FRONT_SIZE] + bytes(len(raw) - pack.FRONT_SIZE), 7: raw,
    }  # fmt: skip
    for number, content in forged.items():
        store.put(f"packs/{number:032x}.pack", content)
    _, last = lab.perform_job("backup-verify", repo=repo)
    assert isinstance(last, RunFailed), last
    assert kept(repo, point, disk.read_bytes())
    lab.disk(disk, {0: 77, 1: 2}, 4 * MIB)
    second = lab.backup(repo, disk)
    lab.done("backup-gc", repo=repo)
    assert kept(repo, second, disk.read_bytes())
    _, last = lab.perform_job("backup-verify", repo=repo)
    assert isinstance(last, Finished), last
