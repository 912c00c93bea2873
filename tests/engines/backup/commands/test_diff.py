"""What changed between two points is found, named with how it changed, and what is equal is not read."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.backup.commands import diff, versions
from engines.backup.files.blocks import differing
from engines.backup.files.model import shown
from engines.backup.repository.byte_source import PointBytes
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.lab import MIB


class Series:
    """A disk that is changed and backed up again and again."""

    def __init__(self, folder: Path, fill: Callable[[Path], object]) -> None:
        self.image = guest_tree.ext4(folder / "image", fill)
        self.repo = lab.init(folder / "repo")
        self.points = [lab.backup(self.repo, self.image)]

    def change(self, work: Callable[[Path], object]) -> None:
        with guest_tree.mounted(self.image, "rw") as root:
            work(root)
        self.again()

    def again(self) -> None:
        self.points.append(lab.backup(self.repo, self.image))

    def diff(self, old: int = 0, new: int = -1, path: str = "/") -> diff.Diff:
        given = {"repo": self.repo, "old": self.points[old], "new": self.points[new], "path": path}
        return diff.answer(convert(diff.DiffParams, given))

    def versions(self, where: str) -> list[versions.Version]:
        return versions.answer(convert(versions.VersionsParams, {"repo": self.repo, "where": where})).versions


def fill(root: Path) -> None:
    guest_tree.everything(root)
    for name in ("grown", "edited", "touched", "owned", "same"):
        (root / name).write_bytes(lab.block(len(name), 300_000))
    (root / "big").write_bytes(b"".join(lab.block(at) for at in range(20)))
    (root / "gone").mkdir()
    (root / "gone/file").write_text("away")
    (root / "turns").write_text("into a folder")


def work(root: Path) -> None:
    with (root / "grown").open("ab") as stream:
        stream.write(b"more")
    raw = bytearray((root / "edited").read_bytes())
    raw[250_000] ^= 1
    times = (root / "edited").stat()
    (root / "edited").write_bytes(raw)
    os.utime(root / "edited", ns=(times.st_atime_ns, times.st_mtime_ns))  # the same size and mtime: only ctime tells
    os.utime(root / "touched", ns=(1, 1))
    os.chown(root / "owned", 7, 7)
    os.setxattr(root / "same", "user.new", b"1")
    shutil.rmtree(root / "gone")
    (root / "turns").unlink()
    (root / "turns").mkdir()
    (root / "turns/in").write_text("new")
    (root / os.fsdecode(guest_tree.ODD) / "odd").write_text("odd")
    (root / "etc").chmod(0o700)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    folder = tmp_path_factory.mktemp("series")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    try:
        found = Series(folder, fill)
        found.change(work)
        found.again()
        yield found
    finally:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


def test_every_change_is_named_with_how_it_changed(series: Series) -> None:
    found = {row.path: (row.what, set(row.how)) for row in series.diff(0, 1).files}
    odd = "/" + shown(guest_tree.ODD)
    assert found == {
        "/grown": ("changed", {"size", "time"}),
        "/edited": ("changed", {"content"}),
        "/touched": ("changed", {"time"}),
        "/owned": ("changed", {"owner"}),
        "/same": ("changed", {"attributes"}),
        "/gone": ("removed", set()),
        "/gone/file": ("removed", set()),
        "/turns": ("changed", {"type"}),
        "/turns/in": ("added", set()),
        "/etc": ("changed", {"mode"}),
        f"{odd}/odd": ("added", set()),
    }


def test_what_is_equal_is_not_read(series: Series) -> None:
    found = series.diff(0, 1)
    assert found.read < 2 * 4 * 300_000 + MIB  # edited, touched, owned, same; not the 20 MiB of big
    assert 0 < found.blocks < 30 * MIB


def test_equal_disks_are_equal_at_once_whatever_is_on_them(series: Series, tmp_path: Path) -> None:
    found = series.diff(1, 2)
    assert (found.files, found.blocks, found.read) == ([], 0, 0)
    blank = lab.disk(tmp_path / "blank", {3: 1}, 8 * MIB)  # no file system that could be opened
    points = [lab.backup(series.repo, blank, vm="blank") for _ in range(2)]
    given = {"repo": series.repo, "old": points[0], "new": points[1]}
    assert diff.answer(convert(diff.DiffParams, given)).files == []


def test_differing_blocks_are_those_that_were_written(tmp_path: Path) -> None:
    size = 700 * MIB + 77
    disk = lab.disk(tmp_path / "disk", {0: 1, 5: 2, 600: 3}, size)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, disk)
    lab.disk(disk, {0: 1, 5: 9, 6: 9, 600: 3, 700: 4}, size + 3 * MIB)
    lab.backup(repo, disk)
    repository = lab.opened(repo)
    old, new = (PointBytes(repository, repository.point(name)) for name in repository.names())
    try:
        assert differing(old, old) == []
        spans = differing(old, new)
        assert spans[0] == (5 * MIB, 7 * MIB)
        assert (spans[1][0], spans[1][1] >= size + 3 * MIB, len(spans)) == (700 * MIB, True, 2)
        assert differing(new, old) == spans
    finally:
        old.close()
        new.close()


def test_a_path_narrows_the_view_and_one_that_is_nowhere_is_named(series: Series) -> None:
    assert [row.path for row in series.diff(0, 1, "/turns").files] == ["/turns", "/turns/in"]
    assert series.diff(0, 1, "/srv").files == []
    with pytest.raises(Exception, match="/nowhere is in neither"):
        series.diff(0, 1, "/nowhere")


def test_versions_tell_which_points_hold_another_content(series: Series) -> None:
    with guest_tree.mounted(series.image) as root:
        edited = hashlib.sha256((root / "edited").read_bytes()).hexdigest()
    found = series.versions("web1:/edited")
    assert [each.state for each in found] == ["first", "changed", "same"]
    assert found[1].sha256 == found[2].sha256 == edited != found[0].sha256
    assert [each.state for each in series.versions("web1/disk0:/touched")] == ["first", "same", "same"]
    assert [each.state for each in series.versions("web1:/gone/file")] == ["first", "gone", "gone"]
    assert [each.state for each in series.versions("web1:/turns/in")] == ["gone", "first", "same"]


def test_a_place_that_makes_no_sense_is_refused(series: Series) -> None:
    for where in ("web1", "web1:", "web1:etc", "../x:/etc", ":/etc"):
        with pytest.raises(BadParam):
            series.versions(where)
    with pytest.raises(Refused, match="no point of web9"):
        series.versions("web9:/etc")


def test_the_lines_hold_no_escape_of_the_guest(series: Series) -> None:
    words = [sys.executable, "-m", "engines.cli", "backup", "diff", "--repo", series.repo, *series.points[:2]]
    found = subprocess.run(words, capture_output=True, check=True)
    assert b"\x1b" not in found.stdout + found.stderr
    assert b"M /edited  content\n" in found.stdout
    assert b"- /gone/\n" in found.stdout
    assert b"2 removed" in found.stderr
