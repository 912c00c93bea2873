"""A line to a bucket that breaks in each kind of request: once, and nobody notices; for good, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.backup.errors import FarFailed
from engines.backup.repository.repository import Repository
from engines.backup.store.s3.store import S3Store, open_s3
from engines.backup.store.s3.upload import PART
from engines.job.contract import Finished, RunFailed
from tests.engines.backup import lab
from tests.engines.backup.store.faulty import BREAKS, PHASES, Faulty
from tests.engines.backup.store.weed import Weed

MIB = 1 << 20
DISK = 16 * MIB
WAYS = (*BREAKS, "refused")
NIGHT = ("backup", "backup-prune", "backup-gc", "backup-verify")
USED = {
    "backup": ("list", "get", "head", "put", "conditional", "delete", "begin", "part", "complete"),
    "backup-prune": ("copy",),
    "backup-gc": ("list", "get", "head", "put", "conditional", "delete"),
    "backup-verify": ("list", "get", "head", "delete"),
}


@pytest.fixture
def line(weed: Weed) -> Iterator[Faulty]:
    with Faulty(weed.port) as made:
        yield made


@pytest.fixture
def store(weed: Weed, bucket: str, line: Faulty) -> S3Store:
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=60)
    return open_s3(f"s3://{bucket}/r")


def uploaded(store: S3Store, content: bytes) -> None:
    """In parts, while it is written."""
    growing = store.append("packs/s.p.part")
    for at in range(0, len(content), MIB):
        growing.write([content[at : at + MIB]])
    growing.seal("packs/p.pack")


@pytest.mark.parametrize("way", ["torn", pytest.param("unsent", marks=pytest.mark.soak), "unanswered"])
def test_what_breaks_once_is_asked_for_again(store: S3Store, line: Faulty, way: str, tmp_path: Path) -> None:
    long = os.urandom(2 * PART + MIB)
    (tmp_path / "file").write_bytes(long)

    def adopted() -> None:
        store.bucket.put("index/long.idx", tmp_path / "file")

    asked: dict[str, list[Callable[[], Any]]] = {
        "put": [lambda: store.put("sessions/a", b"one")],
        "conditional": [lambda: store.put(f"points/{way}", b"p", new=True)],
        "get": [lambda: store.read("sessions/a"), lambda: store.read("sessions/a", 0, 3)],
        "head": [lambda: store.bucket.head("sessions/a"), lambda: store.missing(["sessions/a", "none"])],
        "begin": [lambda: uploaded(store, long)],
        "part": [lambda: uploaded(store, long)],
        "complete": [lambda: uploaded(store, long), adopted],
        "list": [lambda: set(store.names("sessions"))],
        "copy": [lambda: store.rename("sessions/a", "sessions/b")],
        "delete": [lambda: store.delete("sessions/b")],
    }
    assert set(asked) == set(PHASES)
    answers = []
    for phase, calls in asked.items():
        for call in calls:
            line.arm(phase, way, 1)
            answers.append(call())
            assert line.hits == 1, phase
    assert b"one" in answers and {"sessions/a"} in answers and {"none"} in answers
    assert store.read("packs/p.pack") == store.read("index/long.idx") == long
    assert sorted(store.names(".")) == ["index/long.idx", "packs/p.pack", f"points/{way}"]


def points(repo: str) -> set[str]:
    with Repository.glance(repo) as found:
        return {str(name) for name in found.names()}


class Nights:
    """A repository behind the line, to which each run of `task` has something to do."""

    def __init__(self, repo: str, folder: Path) -> None:
        self.repo, self.disk, self.seed = repo, folder / "disk", 0
        self.contents: dict[str, bytes] = {}

    def ready(self, task: str) -> None:
        """What the task works on, over a line that holds."""
        if task == "backup":
            self.seed += 1
            # more than a part of an upload, of which nothing is known yet
            lab.disk(self.disk, {number: 100 * self.seed + number for number in range(16)}, DISK)
        if task in ("backup-prune", "backup-gc"):
            self.ready("backup")
            assert isinstance(self.run("backup"), Finished)
        if task == "backup-gc":
            assert isinstance(self.run("backup-prune"), Finished)

    def run(self, task: str) -> Any:
        more: dict[str, dict[str, Any]] = {
            "backup": {"source": str(self.disk), "vm": "web1", "limit": "none"},
            "backup-prune": {"keep_last": 1},
        }
        try:
            _, last = lab.perform_job(task, repo=self.repo, **more.get(task, {}))
        except FarFailed as failed:  # before there is a run, while it is planned
            return failed
        if isinstance(last, Finished) and task == "backup":
            self.contents[str(last.result["point"])] = self.disk.read_bytes()
        return last

    def prove(self) -> None:
        """What a run said it made is there, or was pruned since, and is what the disk was."""
        for name in points(self.repo) & self.contents.keys():
            assert lab.content(self.repo, name) == self.contents[name]
        lab.done("backup-verify", repo=self.repo)


@pytest.fixture
def nights(bucket: str, weed: Weed, line: Faulty, tmp_path: Path) -> Nights:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=60)
    made = Nights(repo, tmp_path)
    made.ready("backup")
    made.run("backup")
    return made


def test_a_backup_whose_line_breaks_once_is_made(nights: Nights, line: Faulty) -> None:
    for phase in ("list", "delete", "conditional", "begin", "complete"):
        nights.ready("backup")
        line.arm(phase, "torn", 1)
        last = nights.run("backup")
        assert isinstance(last, Finished), (phase, last)
        assert line.hits == 1, phase
    line.arm("", "", 0)
    nights.prove()


def test_a_line_that_is_gone_from_one_kind_of_request_on_loses_nothing(
    nights: Nights, weed: Weed, bucket: str, line: Faulty
) -> None:
    for phase, way in (("list", "torn"), ("part", "unanswered"), ("complete", "refused"), ("conditional", "torn")):
        weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=1)
        before = points(nights.repo)
        nights.ready("backup")
        line.arm(phase, way, 10**6)
        last = nights.run("backup")
        line.arm("", "", 0)
        assert isinstance(last, RunFailed | FarFailed), (phase, last)
        said = "fault of its own" if way == "refused" else "not reached for 1 s"
        assert bucket in last.why and said in last.why and last.what_helps, (phase, last)
        weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=60)
        assert before <= points(nights.repo)
        last = nights.run("backup")
        assert isinstance(last, Finished), (phase, last)
    nights.prove()


@pytest.mark.soak
@pytest.mark.parametrize("task", NIGHT)
def test_every_run_bears_every_break_of_its_line(
    nights: Nights, weed: Weed, bucket: str, line: Faulty, task: str
) -> None:
    for times, patience in ((1, 60), (10**6, 1)):
        for phase in USED[task]:
            for way in WAYS:
                nights.ready(task)
                weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=patience)
                line.arm(phase, way, times)
                last = nights.run(task)
                hits = line.hits
                line.arm("", "", 0)
                weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=60)
                assert hits, (phase, way)
                if times == 1:
                    assert isinstance(last, Finished), (phase, way, last)
                elif not isinstance(last, Finished):
                    assert bucket in last.why and last.what_helps, (phase, way, last)
                    again = nights.run(task)
                    assert isinstance(again, Finished), (phase, way, again)
        nights.prove()
