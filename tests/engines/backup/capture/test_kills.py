"""A backup, prune or gc that is killed at any moment costs no committed point, and nobody has to repair anything.

The moments are counted in what a run does to files of the repository, not in seconds: see strike.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.backup.repository import pack, record
from engines.backup.repository.repository import Repository
from engines.job.contract import AnyEvent
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.strike import child, driven, struck

DISK = 24 * MIB


LITTLE = 0.003  # s that a strike may come after the call that it counted to


def killed_once(written: Callable[[], bool], folder: Path, **params: Any) -> bool:
    """Whether a backup was killed before it ended: by a thread of its own, once so much is written.

    Its words are too rare to strike at: a few a second, and a run may be over between two of them.
    """

    def strike() -> None:
        while not written():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        threading.Thread(target=strike, daemon=True).start()
        driven("backup", folder, **params)

    return os.WIFSIGNALED(os.waitpid(child(work), 0)[1])


def stored(repo: str) -> int:
    """Bytes of all packs, whole or not."""
    sizes = 0
    for path in Path(repo, "packs").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it got its name just now
            sizes += path.stat().st_size
    return sizes


class Campaign:
    """A repository that is abused, and what every point in it must hold."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.repo = lab.init(folder / "repo", pack=3 * MIB)
        self.blocks: dict[int, int] = {at: at for at in range(16)}
        self.disk = folder / "disk"
        self.known: dict[str, dict[int, int]] = {}
        self.ids: dict[int, bytes] = {}
        self.kills = 0
        self.late = 0
        self.hits: Counter[str] = Counter()
        self.calls = {"backup": 40, "backup-prune": 20, "backup-gc": 40}
        self.change()

    def change(self) -> None:
        for _ in range(self.rng.randrange(1, 5)):
            self.blocks[self.rng.randrange(24)] = self.rng.randrange(1000)
        lab.disk(self.disk, self.blocks, DISK)

    def params(self, task: str) -> dict[str, object]:
        if task == "backup":
            return {"repo": self.repo, "source": str(self.disk), "vm": "web1", "limit": "none"}
        return {"repo": self.repo} | ({"keep_last": 3} if task == "backup-prune" else {})

    def strike(self, task: str) -> None:
        """Kill the task at a random moment of what it did when it last ran to its end."""
        points = set(self.names())
        at = self.rng.randrange(1, self.calls[task] + 1)
        later = self.rng.choice((0.0, self.rng.uniform(0, LITTLE)))
        found = struck(self.repo, at, later, lambda striker: self.work(task, striker.heard))
        if found.killed:
            self.kills += 1
            made = task == "backup" and bool(set(self.names()) - points)
            self.hits[f"{task} {'made its point' if made else found.step or 'plan'}"] += 1
        else:
            self.late += 1
            self.calls[task] = found.calls
        self.check()

    def finish(self, task: str) -> None:
        found = struck(self.repo, 0, 0.0, lambda striker: self.work(task, striker.heard))
        assert not found.killed, f"{task} could not go on after a kill"
        self.calls[task] = found.calls
        self.check()

    def work(self, task: str, heard: Callable[[AnyEvent], None]) -> None:
        driven(task, self.folder, heard, **self.params(task))

    def names(self) -> list[str]:
        return [str(path) for path in Path(self.repo, "points").rglob("*.point")]

    def check(self) -> None:
        """Every committed point holds what the disk held."""
        repository = lab.opened(self.repo)
        names = {str(name): name for name in repository.names()}
        proven: set[bytes] = set()
        for text in names.keys() - self.known.keys():
            self.known[text] = dict(self.blocks)
        for text, name in names.items():
            point = repository.point(name)
            ids = repository.map(point, 0)
            for number in range(24):
                wanted = self.known[text].get(number)
                found = ids[number * 32 : number * 32 + 32]
                assert found == (bytes(32) if wanted is None else self.id_of(repository, wanted))
                if wanted is not None and found not in proven:
                    repository.fetch(found, record.BLOCK)  # proves that the content is what the id names
                    proven.add(found)

    def id_of(self, repository: Repository, seed: int) -> bytes:
        if seed not in self.ids:
            self.ids[seed] = repository.codec.id(record.BLOCK, lab.block(seed))
        return self.ids[seed]


def campaign(folder: Path, kills: int, seed: int) -> Campaign:
    found = Campaign(folder, seed)
    while found.kills < kills:
        for task in ("backup", "backup", "backup-prune", "backup-gc"):
            found.strike(task)
        if found.rng.random() < 0.5:
            found.finish("backup")
            found.change()
        if found.rng.random() < 0.3:
            found.finish("backup-prune")
            found.finish("backup-gc")
    found.finish("backup")
    found.finish("backup-gc")
    return found


def hit_in_the_middle(found: Campaign) -> None:
    """Most strikes came while there was something to lose: the campaign would prove little else."""
    backups = {name: count for name, count in found.hits.items() if name.startswith("backup ")}
    assert found.kills > 2 * found.late, found.hits
    assert sum(backups.values()) >= found.kills // 3, found.hits
    assert backups.get("backup read", 0) + backups.get("backup commit", 0) > sum(backups.values()) // 2, found.hits


def test_kills_at_random_moments_cost_no_point(tmp_path: Path) -> None:
    found = campaign(tmp_path, kills=30, seed=int.from_bytes(os.urandom(4), "little"))
    assert lab.verified(repo=found.repo)["hit"] == []
    hit_in_the_middle(found)


@pytest.mark.soak
def test_two_hundred_kills_at_random_moments_cost_no_point(tmp_path: Path) -> None:
    found = campaign(tmp_path, kills=200, seed=int.from_bytes(os.urandom(4), "little"))
    assert lab.verified(repo=found.repo)["hit"] == []
    hit_in_the_middle(found)
    steps = {"backup plan", "backup read", "backup commit", "backup made its point"}
    assert steps | {"backup-prune prune"} <= set(found.hits), found.hits
    assert any(name.startswith("backup-gc ") for name in found.hits), found.hits


def stored_blocks(repo: str) -> Counter[bytes]:
    """How often each block lies in the packs."""
    repository = lab.opened(repo)
    found: Counter[bytes] = Counter()
    for owner in repository.index.present:
        places, _ = pack.read_footer(repository.store, owner, repository.store.size(pack.name(owner)))
        found.update(place.id for place in places if place.kind == record.BLOCK)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_first_backup_that_was_killed_again_and_again_stores_no_block_twice(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    source = lab.disk(tmp_path / "disk", {at: at for at in range(60)}, 60 * MIB)
    repo = lab.init(tmp_path / "repo", pack=8 * MIB)
    params = {"repo": repo, "source": str(source), "vm": "web1"}
    kills = []
    for most in (15, 30, 45):
        lab.cold(source)  # what lies in memory is read at once, whatever the limit
        mark = rng.randrange(most - 14, most) * MIB
        kills.append(
            killed_once(lambda mark=mark: stored(repo) > mark, tmp_path, **params, limit="40M")  # type: ignore[misc]
        )
    assert sum(kills) >= 2, "the limit no longer makes a run long enough to be killed"
    point = lab.backup(repo, source)
    assert lab.content(repo, point) == source.read_bytes()
    found = stored_blocks(repo)
    assert len(found) == 60
    assert set(found.values()) == {1}


@pytest.mark.parametrize("tear", ["cut", "garbage", "flip", "empty"])
def test_a_torn_last_pack_is_taken_up_as_far_as_it_is_whole(tmp_path: Path, tear: str) -> None:
    source = lab.cold(lab.disk(tmp_path / "disk", {at: at for at in range(40)}, 40 * MIB))
    repo = lab.init(tmp_path / "repo")
    assert killed_once(lambda: stored(repo) > 3 * MIB, tmp_path, repo=repo, source=str(source), vm="web1", limit="20M")
    (part,) = Path(repo, "packs").glob("*.part")
    raw = bytearray(part.read_bytes())
    if tear == "cut":
        raw = raw[: len(raw) * 2 // 3]
    elif tear == "garbage":
        raw += os.urandom(100_000)
    elif tear == "flip":
        raw[len(raw) // 2] ^= 1
    else:
        raw = bytearray()
    part.write_bytes(raw)
    point = lab.backup(repo, source)
    assert lab.content(repo, point) == source.read_bytes()
    assert set(stored_blocks(repo).values()) == {1}
    assert not list(Path(repo, "packs").glob("*.part"))


def test_two_backups_of_one_disk_at_once_both_hold(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(24)}, DISK)
    repo = lab.init(tmp_path / "repo", pack=3 * MIB)
    params = {"repo": repo, "source": str(source), "vm": "web1", "limit": "none"}
    children = [child(lambda: driven("backup", tmp_path, **params)) for _ in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    names = lab.opened(repo).names()
    assert len(names) == 3
    for name in names:
        assert lab.content(repo, str(name)) == source.read_bytes()
    lab.done("backup-gc", repo=repo)
    assert lab.verified(repo=repo)["hit"] == []


def test_backups_prunes_and_gcs_side_by_side_cost_no_point(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo", pack=3 * MIB)
    until = time.monotonic() + 6.0
    disks = {vm: lab.disk(tmp_path / vm, {at: at for at in range(12)}, DISK) for vm in ("one", "two")}

    def backing_up(vm: str) -> None:
        rng = random.Random(vm)
        held = {at: at for at in range(12)}
        while time.monotonic() < until:
            held[rng.randrange(24)] = rng.randrange(40)
            lab.disk(disks[vm], held, DISK)
            driven("backup", tmp_path, repo=repo, source=str(disks[vm]), vm=vm, limit="none")

    def tidying() -> None:
        while time.monotonic() < until:
            driven("backup-prune", tmp_path, repo=repo, keep_last=2)
            driven("backup-gc", tmp_path, repo=repo)

    children = [child(lambda vm=vm: backing_up(vm)) for vm in disks]  # type: ignore[misc]  # mypy cannot type a default
    children.append(child(tidying))
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    found = lab.verified(repo=repo)
    assert found["hit"] == []
    assert found["bad"] == 0
    for vm, source in disks.items():
        lab.backup(repo, source, vm=vm)
        assert lab.content(repo, f"{vm}/disk0@latest") == source.read_bytes()
