"""A name looked for over all points of a guest, or of all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.backup.commands import search
from engines.backup.commands.search import Searched, SearchParams
from engines.job.errors import Refused
from tests.cli.crashcart import crashcart
from tests.engines.backup import lab
from tests.engines.backup.files.images import MIB, ext, run


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """(repository, points of web1): shop.conf comes, stays over an equal point, changes, and goes; db1 has one, too."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        repo = lab.init(folder / "repo")
        image = ext(folder / "disk", 8 * MIB)
        points = [lab.backup(repo, image)]
        for command in (("mkdir etc", "write {} etc/shop.conf"), (), ("rm etc/shop.conf", "write {} etc/shop.conf")):
            new = folder / f"conf{len(points)}"
            new.write_text("x" * 100 * len(points))
            for each in command:
                run("debugfs", "-w", "-R", each.format(new), image)
            points.append(lab.backup(repo, image))
        lab.backup(repo, image, "db1")
        run("debugfs", "-w", "-R", "rm etc/shop.conf", image)
        points.append(lab.backup(repo, image))
        locked = lab.disk(folder / "locked", {0: 1}, MIB)
        with locked.open("r+b") as stream:
            stream.write(b"LUKS\xba\xbe\x00\x02")
        lab.backup(repo, locked, "db2")
    return repo, points


def found(repo: str, pattern: str, **params: str) -> Searched:
    return search.answer(SearchParams(repo=repo, pattern=pattern, **params))


def test_a_file_is_found_with_its_versions_over_all_points_of_a_guest(staged: tuple[str, list[str]]) -> None:
    repo, points = staged
    told = found(repo, "*.conf", only="web1")
    assert told.points == len(points) == 5
    (match,) = told.found
    assert (match.disk, match.path, match.here) == ("web1/disk0", "/etc/shop.conf", False)
    assert [(one.first, one.last, one.points, one.size) for one in match.versions] == [
        (points[1], points[2], 2, 100),
        (points[3], points[3], 1, 300),
    ]


def test_over_all_guests_what_cannot_be_read_is_named_and_ends_nothing(staged: tuple[str, list[str]]) -> None:
    repo, _ = staged
    told = found(repo, "/etc/shop*")
    assert [(match.disk, match.here) for match in told.found] == [("db1/disk0", True), ("web1/disk0", False)]
    assert any(note.startswith("db2/disk0@") for note in told.notes)


def test_a_name_that_is_nowhere_is_no_error_and_a_guest_that_is_none_is(staged: tuple[str, list[str]]) -> None:
    assert found(staged[0], "nothing", only="web1").found == []
    assert found(staged[0], "*.conf", only="web1", under="/lost+found").found == []
    with pytest.raises(Refused, match="web2"):
        found(staged[0], "*", only="web2")


def test_it_is_told_in_lines_and_as_data(staged: tuple[str, list[str]], tmp_path: Path) -> None:
    repo, points = staged
    ran = crashcart("backup", "search", "*.conf", "--only", "web1", "--repo", repo)
    assert ran.returncode == 0, ran.stderr
    assert "web1/disk0:/etc/shop.conf  in 3 points since" in ran.stdout and "gone after" in ran.stdout
    assert points[3] in ran.stdout
    ran = crashcart("backup", "search", "*.conf", "--repo", repo, "--json")
    assert {match["disk"] for match in json.loads(ran.stdout)["found"]} == {"web1/disk0", "db1/disk0"}
