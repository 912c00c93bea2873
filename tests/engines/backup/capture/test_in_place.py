"""A backup looks at blocks where they lie in memory, sees every change there and keeps count of what it looked at."""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path

import pytest

from engines.backup.capture import in_place
from engines.backup.capture.quicker import FasterWay
from engines.backup.limits.throttle import Unlimited
from engines.backup.sources.lending import Lending
from engines.backup.sources.plain import PlainSource
from engines.job.contract import RunFailed
from engines.job.errors import Failed
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

CELL = 4 * MIB


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """12 MiB, all of it in memory."""
    return lab.warm(lab.disk(tmp_path / "image", {number: number for number in range(12)}, 12 * MIB))


def copied() -> int:
    """Bytes that this process had read() and its like copy to it."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_backup_reads_what_is_lent_without_copying_and_sees_every_change(image: Path, tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    began = copied()
    lab.backup(repo, image)
    first = copied() - began
    began = copied()
    lab.backup(repo, image)
    second = copied() - began
    assert first > 12 * MIB
    assert 8 * MIB < second < 10 * MIB, "of three pieces two are read, to compare, and one is looked at where it lies"
    with image.open("r+b") as stream:
        stream.seek(5 * MIB + 77)
        stream.write(b"changed")
    point = lab.backup(repo, image)
    assert lab.content(repo, point) == image.read_bytes(), "what differs is read, to be stored"


class Decided(FasterWay):
    """Which of the two is quicker is a matter of the machine; here it is to look in place, from the first piece on."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece that can be is looked at in place."""
    monkeypatch.setattr(in_place, "FasterWay", Decided)


@pytest.mark.usefixtures("at_once")
def test_every_change_is_seen_where_many_blocks_are_looked_at_together(tmp_path: Path) -> None:
    size = 150 * MIB + 12345
    image = lab.disk(tmp_path / "image", {number: number for number in (*range(70), *range(90, 150))}, size)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    rng = random.Random(5)
    for count in (0, 1, 3, 40):
        with image.open("r+b") as stream:
            for _ in range(count):
                stream.seek(rng.choice((rng.randrange(size), size - 1, 32 * MIB, 70 * MIB - 1)))
                stream.write(bytes([rng.randrange(1, 256)]))
            stream.truncate(size)
        lab.warm(image)
        point = lab.backup(repo, image)
        assert lab.content(repo, point) == image.read_bytes(), f"after {count} changes"


@pytest.mark.usefixtures("at_once")
def test_of_an_unchanged_disk_in_memory_nothing_is_copied(tmp_path: Path) -> None:
    image = lab.disk(tmp_path / "image", {number: number for number in range(100)}, 100 * MIB + 12345)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    found = []
    for _ in range(3):  # a page that the kernel takes back meanwhile costs one of them
        lab.warm(image)
        began = copied()
        lab.backup(repo, image)
        found.append(copied() - began)
    assert min(found) < MIB


@pytest.mark.usefixtures("at_once")
def test_blocks_of_two_maps_are_never_looked_at_as_one(tmp_path: Path) -> None:
    image = lab.disk(tmp_path / "image", {number: number for number in range(490, 540)}, 540 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    for changed in (511, 512):
        with image.open("r+b") as stream:
            stream.seek(changed * MIB + 9)
            stream.write(b"changed")
        lab.warm(image)
        assert lab.content(repo, lab.backup(repo, image)) == image.read_bytes()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.usefixtures("at_once")
def test_only_a_strict_backup_reads_what_it_is_lent(tmp_path: Path, strict: bool) -> None:
    image = lab.disk(tmp_path / "image", {number: number for number in range(12)}, 12 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    lab.warm(image)
    began = copied()
    lab.backup(repo, image, strict=strict)
    assert (copied() - began > 12 * MIB) is strict


@pytest.mark.usefixtures("at_once")
def test_what_was_seen_under_a_lease_that_did_not_hold_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(lent: Lending) -> bool:
        fcntl.fcntl(lent._lease(), fcntl.F_SETLEASE, fcntl.F_UNLCK)  # as the kernel does, to who holds one for too long
        return real(lent)

    image = lab.disk(tmp_path / "image", {number: number for number in range(12)}, 12 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    lab.warm(image)
    real = Lending._give_back
    monkeypatch.setattr(Lending, "_give_back", broken)
    began = copied()
    point = lab.backup(repo, image)
    assert copied() - began > 12 * MIB
    assert lab.content(repo, point) == image.read_bytes()


@pytest.mark.usefixtures("at_once")
def test_every_byte_that_is_looked_at_is_counted_and_asked_of_the_throttle_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Unlimited, "take", lambda _self, count: asked.append(count))
    size = 40 * MIB + 12345
    image = lab.disk(tmp_path / "image", {number: number for number in range(41)}, size)
    repo = lab.init(tmp_path / "repo")
    for _ in range(2):
        asked.clear()
        lab.warm(image)
        assert lab.done("backup", repo=repo, source=str(image), vm="web1", limit="none")["read"] == size
        assert sum(asked) == size
        assert max(asked) <= CELL


@pytest.mark.usefixtures("at_once")
def test_a_reader_that_waits_for_its_turn_ends_soon_after_the_other_one_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = lab.disk(tmp_path / "image", {number: number for number in range(64)}, 64 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    asked: list[int] = []

    def slow(_throttle: Unlimited, count: int) -> None:
        asked.append(count)
        if len(asked) == 3:
            raise Failed("the device went away", "bring it back")
        time.sleep(0.5)

    lab.warm(image)
    monkeypatch.setattr(Unlimited, "take", slow)
    _, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", limit="none")
    assert isinstance(last, RunFailed)
    assert last.why == "the device went away"
    assert len(asked) <= 3 + 4


@pytest.mark.usefixtures("at_once")
def test_a_reader_ends_soon_after_the_other_one_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of many blocks, of which some must be read, on a disk that is slow and then breaks."""
    image = lab.disk(tmp_path / "image", {number: number for number in range(64)}, 64 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    lab.cold(image)
    descriptor = os.open(image, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    for at in range(0, 64 * MIB, CELL):
        os.pread(descriptor, 4096, at)
    os.close(descriptor)
    reads: list[int] = []
    real = PlainSource.read_into

    def slow(source: PlainSource, offset: int, buffer: memoryview) -> None:
        reads.append(offset)
        if len(reads) == 6:
            raise Failed("the disk broke", "replace it")
        time.sleep(0.3)
        real(source, offset, buffer)

    monkeypatch.setattr(PlainSource, "read_into", slow)
    _, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", limit="none")
    assert isinstance(last, RunFailed)
    assert last.why == "the disk broke"
    assert len(reads) <= 6 + 8
