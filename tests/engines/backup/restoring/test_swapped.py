"""A target that is not what the plan saw is left alone, and what a stranger can hold is not gone on with."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from engines.backup.restoring.target import SeenTarget, Target, may_be_done
from engines.job.contract import RunFailed
from engines.job.errors import Refused
from tests.engines.backup import lab


def test_what_somebody_put_there_while_a_killed_run_was_half_done_is_not_replaced(
    tmp_path: Path, staged: tuple[str, str, bytes]
) -> None:
    repo, point, _ = staged
    target = tmp_path / "target"
    words = {"repo": repo, "point": point, "target": str(target)}
    run, _ = lab.perform_job("backup-restore", **words)
    target.unlink()
    (tmp_path / ".target.restoring").write_bytes(b"half")
    target.write_bytes(b"theirs")
    _, last = lab.perform_job("backup-restore", mode="resume", earlier=run.id, **words)
    assert isinstance(last, RunFailed) and "is another by now" in last.why
    assert target.read_bytes() == b"theirs"


def planted(tmp_path: Path, what: str) -> None:
    """What whoever owns the folder does between plan and write; `out` was seen as `before` says."""
    theirs, victim = tmp_path / "theirs", tmp_path / "victim"
    if what == "the folder is a link":
        theirs.rename(tmp_path / "away")
        theirs.symlink_to(victim)
    elif what == "the file is a link":
        (theirs / "out").unlink(missing_ok=True)
        (theirs / "out").symlink_to(victim / "out")
    elif what == "the file is another":
        (theirs / "other").write_bytes(b"other")
        (theirs / "other").rename(theirs / "out")
    else:
        (theirs / "out").unlink(missing_ok=True)
        os.mkfifo(theirs / "out")


@pytest.mark.parametrize("before", ["nothing", "a file"])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    "what", ["the folder is a link", "the file is a link", "the file is another", "the file is a FIFO"]
)
def test_a_target_swapped_after_the_plan_is_refused_and_nothing_is_touched(
    tmp_path: Path, before: str, in_place: bool, what: str
) -> None:
    for name in ("theirs", "victim"):
        (tmp_path / name).mkdir()
        if before == "a file":
            (tmp_path / name / "out").write_bytes(b"old")
    seen = SeenTarget.at(tmp_path / "theirs/out")
    planted(tmp_path, what)
    with pytest.raises(Refused, match="another by now"):
        Target(tmp_path / "theirs/out", 4096, in_place=in_place, seen=seen)
    assert [path.read_bytes() for path in (tmp_path / "victim").iterdir()] == [b"old"] * (before == "a file")
    assert not list(tmp_path.rglob("*.restoring"))


def test_the_number_of_an_inode_that_the_next_file_got_makes_it_no_file_that_was_seen(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    seen = SeenTarget.at(target)
    target.write_bytes(b"theirs")  # the same inode, as file systems give it to the next file
    with pytest.raises(Refused, match="another by now"):
        Target(target, 4096, in_place=False, seen=seen)
    assert may_be_done(target, seen, in_place=False)
    Target(target, 4096, in_place=True, seen=seen).close()  # in place, what a killed run wrote is gone on with


@pytest.mark.parametrize("how", ["another user's", "with a second name", "a link"])
def test_a_half_restored_file_that_another_can_hold_is_not_gone_on_with(tmp_path: Path, how: str) -> None:
    left = tmp_path / ".out.restoring"
    (tmp_path / "held").write_bytes(b"")
    if how == "a link":
        left.symlink_to(tmp_path / "held")
    else:
        os.link(tmp_path / "held", left)
    if how == "another user's":
        (tmp_path / "held").unlink()
        os.chown(left, 65534, 65534)
    target = Target(tmp_path / "out", 4096, in_place=False, again=True)
    assert not target.begun
    target.finish()
    target.close()
    found = (tmp_path / "out").stat()
    assert (found.st_uid, found.st_nlink, found.st_size) == (os.geteuid(), 1, 4096)


def test_where_no_file_of_that_size_may_be_none_is_left(tmp_path: Path) -> None:
    """As on FAT with its 4 GiB: the kernel answers EFBIG to both."""
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 30, hard))
    try:
        with pytest.raises(OSError) as refused:
            Target(tmp_path / "out", 5 << 30, in_place=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert refused.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_what_another_host_restores_to_the_same_name_is_neither_placed_nor_removed(tmp_path: Path) -> None:
    target = Target(tmp_path / "out", 4096, in_place=False)
    theirs = tmp_path / ".out.restoring"
    theirs.unlink()
    theirs.write_bytes(b"half of theirs")
    with pytest.raises(Refused, match="another by now"):
        target.finish()
    target.close()
    assert [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()] == [b"half of theirs"]
