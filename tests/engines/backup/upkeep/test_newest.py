"""The newest point of a disk counts only where all that it needs is there."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from engines.backup import names
from engines.backup.repository.pack import TRAILER_SIZE
from engines.backup.repository.repository import Repository
from engines.backup.store.local import LocalStore
from engines.backup.upkeep.newest import Newest, newest
from tests.benchmarks.points import filled
from tests.engines.backup import lab

MB = 1024 * 1024


@pytest.fixture
def repo(tmp_path: Path) -> str:
    """Two points of web1, the second with one block more; one of db."""
    repo = lab.init(tmp_path / "repo")
    made = random.Random(7)
    disk = tmp_path / "disk"
    disk.write_bytes(made.randbytes(4 * MB))
    lab.dated(repo, lab.backup(repo, disk), time_="20261101T000000Z")
    with disk.open("r+b") as file:
        file.write(made.randbytes(MB))
    lab.backup(repo, disk)
    lab.backup(repo, disk, vm="db")
    return repo


def found(repo: str, vm: str = "web1") -> Newest:
    with lab.opened(repo) as repository:
        (one,) = newest(repository, lambda name: name == vm)
    return one


def second_pack(repo: str) -> Path:
    """The pack that the second backup wrote: the smaller of the two with data."""
    first, second = sorted(Path(repo, "packs").glob("*.pack"), key=lambda path: -path.stat().st_size)[:2]
    assert first.stat().st_size > 4 * MB > second.stat().st_size > MB
    return second


def test_a_whole_point_is_good(repo: str) -> None:
    one = found(repo)
    assert (one.points, one.size, one.changed, one.trouble) == (2, 4 * MB, MB, "")
    assert one.good == one.taken and one.stored > 5 * MB


def test_a_disk_has_a_row_for_each_guest_that_has_points_of_it(repo: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    lab.backup(repo, disk, vm="db", tag=["guest-u-1", "by hand"])
    damaged = Path(repo, names.parse(lab.backup(repo, disk, vm="db", tag=["guest-u-1"])).path())
    damaged.write_bytes(b"no point")
    with lab.opened(repo) as repository:
        rows = {one.guest: one for one in newest(repository, lambda name: name == "db")}
    assert {guest: one.points for guest, one in rows.items()} == {"": 1, "u-1": 2}
    assert rows["u-1"].trouble and rows["u-1"].good and not rows[""].trouble


def gone(pack: Path) -> None:
    pack.unlink()


def cut(pack: Path) -> None:
    pack.write_bytes(pack.read_bytes()[: MB // 2])


def empty(pack: Path) -> None:
    pack.write_bytes(b"")


def one_byte_short(pack: Path) -> None:
    pack.write_bytes(pack.read_bytes()[:-1])


def without_its_end(pack: Path) -> None:
    """Into the point's record, which is the last; no index file names it."""
    raw = pack.read_bytes()
    end = int.from_bytes(raw[-24:-16], "little")
    pack.write_bytes(raw[: end - 9])


@pytest.mark.parametrize(
    ("harm", "flushed"),
    [(harm, flushed) for harm in (gone, cut, empty, one_byte_short, without_its_end) for flushed in (False, True)],
)
def test_a_point_whose_pack_is_gone_or_cut_is_in_trouble_and_the_one_before_counts(
    repo: str, harm: Callable[[Path], None], flushed: bool
) -> None:
    if flushed:
        indexed(repo)
    before = found(repo)
    harm(second_pack(repo))
    for vm in ("web1", "db"):  # what they share is told of each
        one = found(repo, vm)
        assert one.trouble, one
        assert one.point.startswith(vm)
    assert found(repo).good == names.seconds("20261101T000000Z") < before.taken
    assert found(repo, "db").good is None


def indexed(repo: str) -> None:
    with lab.opened(repo) as repository:
        repository.load()
        repository.index.flush(always=True)


def test_torn_packs_and_a_map_that_is_gone_are_told_and_end_the_look(repo: str, tmp_path: Path) -> None:
    """Each look for the map lists the packs anew, and with them the torn ones that were left out."""
    packs: dict[str, list[Path]] = {"gone": [], "torn": []}
    disk = tmp_path / "disk"
    for vm, made in packs.items():
        for seed in range(2):  # nothing of the second lies in the first's pack
            known = set(Path(repo, "packs").glob("*.pack"))
            disk.write_bytes(random.Random(f"{vm} {seed}").randbytes(MB))
            lab.backup(repo, disk, vm=vm)
            made += set(Path(repo, "packs").glob("*.pack")) - known
    indexed(repo)
    packs["gone"][-1].unlink()
    for pack in packs["torn"]:
        without_its_end(pack)
    with lab.opened(repo) as repository:
        rows = {one.vm: one for one in newest(repository)}
    assert rows["torn"].trouble and rows["torn"].good is None
    assert rows["gone"].trouble and rows["gone"].good is not None


class Moved(Repository):
    """One whose pack is another's by the time that its end is read: as by a gc that ran behind the listing."""

    pack: Path | None = None

    @override
    def load(self) -> None:
        super().load()
        if self.pack is not None:
            self.pack.rename(self.pack.with_name("f" * 32 + ".pack"))
            self.pack = None


def test_a_pack_that_gc_moved_since_it_was_listed_is_no_trouble(repo: str) -> None:
    indexed(repo)
    with Moved.open(repo) as repository:
        assert isinstance(repository, Moved)
        repository.pack = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
        (one,) = newest(repository, lambda name: name == "web1")
    assert repository.pack is None and not one.trouble


def test_a_damaged_point_file_is_in_trouble(repo: str) -> None:
    point = sorted(Path(repo, "points/web1").rglob("*.point"))[-1]
    point.write_bytes(point.read_bytes()[:-7])
    one = found(repo)
    assert one.trouble and one.good is not None


class Far(LocalStore):
    """A folder that is asked as a far one is; counts the ends of packs that are read."""

    at_once: ClassVar[int] = 4
    ends = 0

    @override
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        self.ends += length == TRAILER_SIZE
        return super().read(name, offset, length)


def test_a_far_pack_that_was_seen_whole_is_not_asked_for_each_morning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repo = lab.init(tmp_path / "repo")
    filled(repo, tmp_path / "disk", 17)
    indexed(repo)

    def look() -> tuple[int, int]:
        """Ends that were read, rows in trouble."""
        with lab.opened(repo) as repository:
            repository.store = far = Far(Path(repo))
            rows = newest(repository)
        return far.ends, sum(bool(row.trouble) for row in rows)

    first, trouble = look()
    assert first >= 16 and not trouble
    again, trouble = look()
    assert again < first and not trouble  # those whose day it is
    for file in (tmp_path / "cache").rglob("proven/*"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert look() == (first, 0)
    pack = min(Path(repo, "packs").glob("*.pack"))
    pack.write_bytes(pack.read_bytes()[:-1])
    assert look()[1] == 1
