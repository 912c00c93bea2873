"""Reading leaves others alone: the page cache, the repository, the disk's speed and the machine's memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engines.backup.limits import throttle
from engines.backup.pages.page_cache import resident
from engines.backup.sources.plain import PlainSource
from engines.job.contract import Cancel, Finished, Log
from engines.job.errors import BadParam, Stopped
from engines.job.journal import entries
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.repository.simulated import simulate

MEMORY = Path("/sys/fs/cgroup/memory")


def in_cache(path: Path) -> int:
    """Bytes of a file in the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return resident(descriptor, 0, path.stat().st_size)
    finally:
        os.close(descriptor)


def noise(path: Path, size: int) -> Path:
    """A file without holes."""
    with path.open("wb") as stream:
        for _ in range(size // MIB):
            stream.write(os.urandom(MIB))
    return path


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A memory cgroup of 256 MiB."""
    if not (MEMORY / "memory.limit_in_bytes").exists() or os.geteuid() != 0:
        absent("needs root and a version 1 memory cgroup")
    group = MEMORY / f"crashcart-test-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(256 * MIB))
    yield group
    group.rmdir()


def within(group: Path, *argv: str) -> None:
    """A command in the cgroup."""
    joined = f'echo $$ > {group}/tasks && exec "$@"'
    subprocess.run(["sh", "-c", joined, "sh", *argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_hot_file_keeps_its_pages_through_a_backup_that_plain_reading_costs(
    tmp_path: Path, little_memory: Path
) -> None:
    hot = noise(tmp_path / "hot", 96 * MIB)
    image = noise(tmp_path / "image", 512 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    kept = {}
    ours = [sys.executable, "-m", "engines.cli", "backup", "run", str(image), "--repo", repo, "--vm", "web1"]
    ways = {"plain": ["dd", f"if={image}", "of=/dev/null", "bs=4M"], "ours": [*ours, "--limit", "none"]}
    for name, argv in ways.items():
        lab.cold(image)
        lab.cold(hot)
        within(little_memory, "dd", f"if={hot}", "of=/dev/null", "bs=1M")
        assert in_cache(hot) > 90 * MIB
        within(little_memory, *argv)
        kept[name] = in_cache(hot)
    assert kept["plain"] < 48 * MIB, "the test shows nothing where plain reading does no harm"
    assert kept["ours"] > 86 * MIB
    assert in_cache(image) < 48 * MIB


def test_pages_that_were_there_before_stay(tmp_path: Path) -> None:
    image = noise(tmp_path / "image", 96 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.cold(image)
    with image.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        stream.seek(40 * MIB)
        stream.read(16 * MIB)
        before = resident(stream.fileno(), 40 * MIB, 16 * MIB)
        lab.backup(repo, image)
        assert before == 16 * MIB
        assert resident(stream.fileno(), 40 * MIB, 16 * MIB) > 14 * MIB, "all but what others pushed out"
        assert in_cache(image) < 40 * MIB


def test_a_second_pass_leaves_the_cache_as_the_first_did(tmp_path: Path) -> None:
    """As after a hint that turned out wrong in the middle."""
    image = lab.cold(noise(tmp_path / "image", 200 * MIB))
    buffer = memoryview(bytearray(4 * MIB))
    descriptor = os.open(image, os.O_RDONLY)
    with closing(PlainSource(descriptor, image)) as source:
        for end in (120 * MIB, 200 * MIB):
            for at in range(0, end, len(buffer)):
                source.ahead(at)
                assert not source.at_hand(at)
                source.read_into(at, buffer)
                source.behind(at + len(buffer))
        source.behind(200 * MIB)
    os.close(descriptor)
    assert in_cache(image) < 2 * MIB


def test_an_unchanged_backup_does_not_read_the_packs(tmp_path: Path) -> None:
    image = noise(tmp_path / "image", 48 * MIB)
    repo = lab.init(tmp_path / "repo", pack=16 * MIB)
    lab.backup(repo, image)
    packs = sorted(Path(repo, "packs").glob("*.pack"))
    for path in packs:
        lab.cold(path)
    lab.backup(repo, image)
    assert sum(in_cache(path) for path in packs) < sum(path.stat().st_size for path in packs) // 100


def peak_anonymous(argv: list[str]) -> int:
    """The most anonymous memory that a command held, in bytes."""
    most = 0
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while child.poll() is None:
            text = Path(f"/proc/{child.pid}/status").read_text()
            found = [int(line.split()[1]) for line in text.splitlines() if line.startswith("RssAnon")]
            most = max([most, *found])
            time.sleep(0.005)
    assert child.returncode == 0
    return most * 1024


def test_a_disk_of_ten_terabytes_in_a_large_repository_takes_little_memory(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    simulate(Path(repo), entries=2_000_000, packs=1000)
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(10 * 1024**4)
        for at in range(50):
            stream.seek(at * 200 * 1024**3)
            stream.write(os.urandom(MIB))
    command = [sys.executable, "-m", "engines.cli", "backup", "run", str(disk), "--repo", repo, "--vm", "web1"]
    assert peak_anonymous([*command, "--limit", "none"]) < 256 * MIB
    assert peak_anonymous([*command, "--limit", "none"]) < 256 * MIB


# ── the throttle ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "share", "rate"),
    [
        ("none", 0, 0),
        ("60%", 0.6, 0),
        ("100%", 1, 0),
        ("40M", 0, 40 * MIB),
        ("40000000", 0, 40_000_000),
        ("1G", 0, 1 << 30),
    ],
)
def test_a_limit_is_a_share_a_rate_or_none(text: str, share: float, rate: int) -> None:
    assert throttle.parse(text) == throttle.Limit(share, rate)


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "fast", "40 M", "4.5M"])
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(BadParam):
        throttle.parse(text)


def test_a_backup_keeps_its_rate(tmp_path: Path) -> None:
    """The engine is held to a rate far below what the disk gives; a slow machine only makes it slower."""
    image = lab.cold(noise(tmp_path / "image", 64 * MIB))
    repo = lab.init(tmp_path / "repo")
    began = time.monotonic()
    lab.backup(repo, image, limit="40M")
    assert 64 / (time.monotonic() - began) <= 40 * 1.1


def test_a_share_is_taken_of_a_speed_that_is_measured_and_said(tmp_path: Path) -> None:
    image = noise(tmp_path / "image", 24 * MIB)
    repo = lab.init(tmp_path / "repo")
    run, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", limit="50%")
    assert isinstance(last, Finished), last
    told = [entry.event.text for entry in entries(run.journal) if isinstance(entry.event, Log)]
    assert any("50% of" in text and "measured" in text for text in told)
    assert any("kept" in text for text in told)


def test_waiting_ends_with_a_stop() -> None:
    cancel = Cancel()
    bucket = throttle.TokenBucket(1.0, "as asked", cancel)
    cancel.set()
    with pytest.raises(Stopped):
        bucket.take(1000)
