"""What lies in the page cache is hashed there, and nobody is harmed by it: not who writes, not the process."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engines.backup.pages.page_cache import resident
from engines.backup.sources.lending import Lending
from engines.backup.sources.mapping import Mapping
from engines.backup.sources.plain import PlainSource
from engines.job.contract import RunFailed
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

CELL = 4 * MIB


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """12 MiB, all of it in memory."""
    path = lab.disk(tmp_path / "image", {number: number for number in range(12)}, 12 * MIB)
    return lab.warm(path)


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


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Those that announce a broken lease and end a process that does not expect them."""
    seen: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize("loans", [0, 1, 5])
def test_who_cuts_the_file_waits_until_the_piece_is_given_back(image: Path, signals: list[int], loans: int) -> None:
    with lending(image) as lent:
        for _ in range(loans):
            assert lent.lend(CELL, CELL) is not None
            assert lent.take_back(CELL, CELL)
        piece = lent.lend(CELL, CELL)
        assert piece is not None
        cut = "import os, sys; os.truncate(sys.argv[1], 0); print('cut')"
        with subprocess.Popen([sys.executable, "-c", cut, str(image)], stdout=subprocess.PIPE, text=True) as child:
            while not breaking(image):
                assert child.poll() is None, "it must wait"
                time.sleep(0.01)
            assert image.stat().st_size == 12 * MIB
            assert piece[:1024] == lab.block(4)[:1024]
            del piece
            assert lent.take_back(CELL, CELL)
            assert child.communicate(timeout=120)[0] == "cut\n"
        assert lent.lend(0, CELL) is None
    assert not signals


def breaking(path: Path) -> bool:
    """Whether the kernel has somebody wait for a lease on the file."""
    inode = f":{path.stat().st_ino} "
    return any("LEASE" in line and "BREAKING" in line and inode in line
               for line in Path("/proc/locks").read_text().splitlines())  # fmt: skip


def openable(path: Path) -> bool:
    """Whether nobody holds a lease."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except BlockingIOError:
        return False
    return True


def test_the_file_is_looked_at_when_nobody_can_cut_it_any_more(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def asked(mapping: Mapping, offset: int, length: int) -> bool:
        seen.append(openable(image))
        return real(mapping, offset, length)

    real = Mapping.populate
    monkeypatch.setattr(Mapping, "populate", asked)
    with lending(image) as lent:
        assert lent.lend(0, CELL) is not None
        lent.take_back(0, CELL)
    assert seen == [False]


def test_what_a_file_lost_since_is_not_lent_and_nothing_is_held(image: Path) -> None:
    with lending(image) as lent:
        os.truncate(image, 2 * CELL - 4096)
        assert lent.lend(CELL, CELL) is None
        assert openable(image)
        assert lent.lend(0, CELL) is not None
        lent.take_back(0, CELL)


def test_a_lease_that_the_kernel_broke_by_force_is_told_and_is_the_last(image: Path) -> None:
    with lending(image) as lent:
        assert lent.lend(0, CELL) is not None
        assert lent.take_back(0, CELL)
        assert not lent.take_back(0, CELL), "as it is when it was broken: there is none to give back"
        assert lent.lend(0, CELL) is None


@pytest.mark.soak
def test_a_lease_that_the_kernel_really_broke_is_told_and_is_the_last(image: Path) -> None:
    """It does so after lease-break-time, 45 s where nobody changed it, to whoever is stopped for that long."""
    with lending(image) as lent:
        assert lent.lend(0, CELL) is not None
        opens = "import os, sys; os.close(os.open(sys.argv[1], os.O_WRONLY))"
        subprocess.run([sys.executable, "-c", opens, str(image)], check=True)
        assert not lent.take_back(0, CELL)
        assert lent.lend(0, CELL) is None


@contextmanager
def mounted(kind: str, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """(the folder it is mounted at, the image below) of a new file system."""
    if os.geteuid() != 0:
        absent("needs root to mount")
    below, folder = tmp_path / "below", tmp_path / "mounted"
    folder.mkdir()
    with below.open("wb") as stream:
        stream.truncate(320 * MIB)
    block = ["-b", "4096"] if kind == "ext4" else []
    subprocess.run([f"mkfs.{kind}", *block, str(below)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(below), str(folder)], check=True)
    try:
        yield folder, below
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a test that failed may have it mapped still


@pytest.mark.parametrize(("kind", "lends"), [("ext4", True), ("xfs", True), ("btrfs", False)])
def test_it_is_lent_only_where_leases_are_known_to_hold(kind: str, lends: bool, tmp_path: Path) -> None:
    with mounted(kind, tmp_path) as (folder, _):
        path = folder / "image"
        path.write_bytes(os.urandom(CELL))
        with lending(lab.warm(path)) as lent:
            assert (lent.lend(0, CELL) is not None) is lends


def pages_read(descriptor: int, length: int) -> bool:
    """Read page by page, past errors; whether there were none."""
    good = True
    for at in range(0, length, 4096):
        try:
            os.pread(descriptor, 4096, at)
        except OSError:
            good = False
    return good


def test_a_page_that_cannot_be_read_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path) as (folder, below):
        path = folder / "image"
        path.write_bytes(os.urandom(2 * CELL))
        lab.cold(path)
        size = below.stat().st_size
        extents = subprocess.run(["filefrag", "-v", str(path)], check=True, capture_output=True, text=True).stdout
        first = min(int(line.split()[3].rstrip(".")) for line in extents.splitlines() if ".." in line)
        os.truncate(below, (first + 512) * 4096)  # the disk has no more than half of the first piece
        with path.open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            failed = sum(not pages_read(stream.fileno(), CELL) for _ in range(3))
            assert failed == 3
            assert resident(stream.fileno(), 0, CELL) == CELL, "pages that failed are counted, too"
        with lending(path) as lent:
            assert lent.lend(0, CELL) is None
        _, last = lab.perform_job("backup", repo=lab.init(tmp_path / "repo"), source=str(path), vm="web1", limit="none")
        assert isinstance(last, RunFailed)
        assert "cannot be read at byte" in last.why
        os.truncate(below, size)


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
    os.pread(descriptor, 2 * CELL - 4096, CELL)
    os.close(descriptor)
    descriptor = os.open(image, os.O_RDONLY)
    with closing(PlainSource(descriptor, image)) as source:
        lent = [source.lend(at, CELL) is not None for at in (0, CELL, 2 * CELL)]
    os.close(descriptor)
    assert lent == [False, True, False], "of the last one all but a page is there"


def mapped() -> int:
    """Bytes of files that this process has pages of in its address space."""
    found = re.search(r"RssFile:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_a_process_that_is_lent_much_stays_small(tmp_path: Path) -> None:
    path = lab.disk(tmp_path / "image", {}, 200 * MIB)
    lab.warm(path)
    before = most = mapped()
    with lending(path) as lent:
        for number, at in enumerate(2 * [*range(0, 200 * MIB, CELL)]):  # a hint that lied costs a second pass
            piece = lent.lend(at, CELL)
            if piece is None:  # a page of it was taken back
                lab.warm(path)
                piece = lent.lend(at, CELL)
            assert piece is not None
            assert not any(piece[::4096])
            most = max(most, mapped())
            del piece
            lent.take_back(at, CELL)
            lent.forget(at + CELL)
            if number < 8:
                assert mapped() - before < CELL, "the first are unmapped at once, so that they are timed with it"
    assert most - before < 80 * MIB


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
