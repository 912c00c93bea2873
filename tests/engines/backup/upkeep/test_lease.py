"""Of several gcs in one bucket one is at work, and one that was taken for dead deletes nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.backup.repository.sessions import Presence
from engines.backup.store.s3.store import open_s3
from engines.backup.upkeep import lease
from engines.job.contract import RunFailed
from engines.job.errors import Failed
from tests.engines.backup import lab

MIB = 1 << 20


def test_of_many_that_find_a_lease_left_behind_one_gets_it(bucket: str) -> None:
    store = open_s3(f"s3://{bucket}/r")
    assert store.lease("leases/gc.json", b"dead", lambda _: False) == b""
    assert store.lease("leases/gc.json", b"second", lambda _: False) == b"dead"
    together = threading.Barrier(8)

    def take(number: int) -> bool:
        holder = f"{number}".encode()
        together.wait(60)
        return store.lease("leases/gc.json", holder, lambda held: held == b"dead") == b""

    with ThreadPoolExecutor(8) as racing:
        won = [number for number, has in enumerate(racing.map(take, range(8))) if has]
    assert len(won) == 1 and store.read("leases/gc.json") == f"{won[0]}".encode()


def test_a_gc_that_was_taken_for_dead_deletes_nothing_and_one_at_work_is_named(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    lab.backup(repo, lab.disk(tmp_path / "disk", {0: 1}, 4 * MIB))
    store = open_s3(repo)
    with Presence(store, "gc", "gc of a test") as mine, lease.held(store, mine):
        lease.demand(store, mine)
        _, last = lab.perform_job("backup-gc", repo=repo)
        assert isinstance(last, RunFailed) and "gc of a test: process" in last.why, last
        store.put(lease.NAME, b"another")
        with pytest.raises(Failed, match="another took its place"):
            lease.demand(store, mine)
    assert store.read(lease.NAME) == b"another", "what is another's is not deleted"
    lab.done("backup-gc", repo=repo)  # whose session there is none of
