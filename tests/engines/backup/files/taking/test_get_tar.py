"""One archive holds the same tree, and appears whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from engines import tasks
from engines.backup.files.taking import tarring
from engines.job import lock, runs
from engines.job.contract import Finished, RunStopped, StepStarted
from engines.job.errors import Refused
from engines.job.journal import Entry, entries
from engines.job.params import convert
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.files.get_lab import Staged, finished
from tests.engines.backup.lab import MIB


def test_a_tar_gives_the_same_tree_back(evil: Staged, guest: Staged, tmp_path: Path) -> None:
    for name, source in (("guest", guest), ("evil", evil)):
        finished(source.get(tmp_path / f"{name}.tar", tar=True, special=True))
        out = tmp_path / name
        out.mkdir()
        subprocess.run(
            [
                "tar",
                "--numeric-owner",
                "--xattrs",
                "--xattrs-include=*",
                "--acls",
                "-xpf",
                f"{out}.tar",
                "-C",
                str(out),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        wanted = {path: found for path, found in source.told.items() if path != b"/sock"}  # no archive holds a socket
        got = guest_tree.told(out)
        assert got.keys() == wanted.keys()
        for path in wanted:
            assert got[path] | {"data": 0, "content": 0} == wanted[path] | {"data": 0, "content": 0}, path
            assert (got[path]["content"] == wanted[path]["content"]) or path == b"/holes", path
        assert Path(f"{out}.tar").stat().st_size < 4 * MIB
    with tarfile.open(tmp_path / "guest.tar") as archive:
        holes = archive.extractfile("holes")
        assert holes is not None
        with guest_tree.mounted(guest.image) as root:
            assert holes.read() == (root / "holes").read_bytes()


def test_a_tar_to_stdout_holds_nothing_but_the_archive(guest: Staged, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "engines.cli",
        "backup",
        "get",
        "--repo",
        guest.repo,
        "--tar",
        f"{guest.point}:/etc",
        "/empty",
        "-",
    ]
    engine = tasks.engine("backup-get")
    params = convert(engine.params, {"repo": guest.repo, "paths": [f"{guest.point}:/etc"], "dest": "-", "tar": True})
    with lock.hold(engine.target(params), "another"):  # a run beside it has a stdout of its own
        found = subprocess.run(words, capture_output=True, check=False)
    assert found.returncode in (0, 4), found.stderr
    (tmp_path / "t.tar").write_bytes(found.stdout)
    assert len(found.stdout) % 512 == 0
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert sorted(archive.getnames()) == ["empty", "etc", "etc/hosts"]
    assert b"report" in found.stderr


def test_an_archive_appears_whole_or_not_at_all(crowd: Staged, tmp_path: Path) -> None:
    stop = Stop()
    params = crowd.params(tmp_path / "t.tar", tar=True)

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "write":
            stop.ask()

    _, last = lab.perform_job("backup-get", stop=stop, listen=listen, **params)
    assert isinstance(last, RunStopped)
    assert not last.left_behind
    assert list(tmp_path.glob("*t.tar*")) == []
    (tmp_path / "t.tar").write_text("an older one")
    with pytest.raises(Refused):
        lab.perform_job("backup-get", **params)
    run, last = lab.perform_job("backup-get", **params, conflict="overwrite")
    assert isinstance(last, Finished)
    assert run.plan() is not None
    assert tarfile.is_tarfile(tmp_path / "t.tar")


@pytest.mark.parametrize("changed", [False, True])
def test_undo_removes_the_archive_and_no_file_that_has_the_number_of_its_inode(
    guest: Staged, tmp_path: Path, *, changed: bool
) -> None:
    path = tmp_path / "t.tar"
    run, last = guest.get(path, "/etc", tar=True)
    assert isinstance(last, Finished), last
    if changed:
        path.write_text("precious")  # into the same inode, as its number goes to the next file that is made there
    undone = runs.create(run.job(), "", mode="undo", earlier=run.id)
    assert isinstance(perform(undone, tasks.engine("backup-get"), confirm=AGREED), Finished)
    assert path.exists() is changed
    assert not changed or path.read_text() == "precious"


def test_progress_reaches_its_total(crowd: Staged, tmp_path: Path) -> None:
    run, last = crowd.get(tmp_path / "out")
    assert isinstance(last, Finished)
    told = [entry.event for entry in entries(run.journal)]
    progress = [event for event in told if type(event).__name__ == "Progress"]
    assert progress[-1].done == progress[-1].total > 18 * MIB  # type: ignore[union-attr]


def test_a_file_of_another_run_that_has_the_growing_name_is_neither_placed_nor_removed(tmp_path: Path) -> None:
    partial = tarring._partial(tmp_path / "t.tar")
    with tarring._grown(tmp_path / "t.tar") as stream:
        assert tarring._is_at(partial, stream)
        partial.unlink()
        partial.write_text("of another host")
        assert not tarring._is_at(partial, stream)
    assert partial.read_text() == "of another host"
