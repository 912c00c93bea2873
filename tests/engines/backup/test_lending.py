"""What lies in the page cache is hashed there, and nobody is harmed by it: not who writes, not the process."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engines.backup import in_place
from engines.backup.sources.lending import Lending
from engines.backup.sources.plain import PlainSource
from engines.backup.trial import Trial
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

CELL = 4 * MIB


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """12 MiB, all of it in memory."""
    path = lab.disk(tmp_path / "image", {number: number for number in range(12)}, 12 * MIB)
    path.read_bytes()
    return path


@contextmanager
def lending(path: Path) -> Iterator[Lending]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with closing(Lending(descriptor, path.stat().st_size)) as found:
            yield found
    finally:
        os.close(descriptor)


def test_a_piece_is_what_the_file_holds(image: Path) -> None:
    with lending(image) as lent:
        for at in (0, CELL, 2 * CELL, CELL) * 8:
            piece = lent.lend(at, CELL)
            assert piece == image.read_bytes()[at : at + CELL]
            del piece
            lent.take_back(at, CELL)
            lent.forget(at)


def test_who_cuts_the_file_waits_until_the_piece_is_given_back(image: Path) -> None:
    with lending(image) as lent:
        piece = lent.lend(CELL, CELL)
        assert piece is not None
        cut = "import os, sys; os.truncate(sys.argv[1], 0); print('cut')"
        with subprocess.Popen([sys.executable, "-c", cut, str(image)], stdout=subprocess.PIPE, text=True) as child:
            time.sleep(0.5)
            assert child.poll() is None, "it must wait"
            assert image.stat().st_size == 12 * MIB
            assert piece[:1024] == lab.block(4)[:1024]
            del piece
            lent.take_back(CELL, CELL)
            assert child.communicate(timeout=20)[0] == "cut\n", "well before the kernel would break the lease by force"
        assert lent.lend(0, CELL) is None


def test_a_file_that_somebody_has_open_for_writing_is_never_lent(image: Path) -> None:
    with lending(image) as lent:
        with image.open("r+b"):
            assert lent.lend(0, CELL) is None
        assert lent.lend(0, CELL) is None, "who wrote it once may do so again"


def test_nothing_is_held_between_pieces(image: Path) -> None:
    with lending(image) as lent:
        assert lent.lend(0, CELL) is not None
        lent.take_back(0, CELL)
        descriptor = os.open(image, os.O_WRONLY | os.O_NONBLOCK)  # would fail at once on a lease
        os.close(descriptor)


def test_only_what_is_wholly_in_memory_is_lent(image: Path) -> None:
    lab.cold(image)
    descriptor = os.open(image, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(descriptor, CELL, CELL)
    os.close(descriptor)
    descriptor = os.open(image, os.O_RDONLY)
    with closing(PlainSource(descriptor, image)) as source:
        lent = [source.lend(at, CELL) is not None for at in (0, CELL, 2 * CELL)]
        source.take_back(CELL, CELL)
    os.close(descriptor)
    assert lent == [False, True, False]


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


class Decided(Trial):
    """Which of the two is quicker is a matter of the machine; here it is to look in place, from the first piece on."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = True


def test_every_change_is_seen_where_many_blocks_are_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place, "Trial", Decided)
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
        image.read_bytes()
        began = copied()
        point = lab.backup(repo, image)
        if count == 0:
            assert copied() - began < MIB, "nothing had to be read"
        assert lab.content(repo, point) == image.read_bytes(), f"after {count} changes"


def test_an_empty_file_is_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with lending(path) as lent:
        assert lent.lend(0, 0) is None


def test_leases_work_on_this_file_system(image: Path) -> None:
    """Else the tests above would pass with nothing lent."""
    descriptor = os.open(image, os.O_RDONLY)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    os.close(descriptor)
