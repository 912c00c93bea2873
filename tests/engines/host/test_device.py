"""Whether only the kernel makes files at a place is told to whoever asks, also where he may not look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.backup.new_place import refuse_place
from engines.backup.restoring.place import looked_at
from engines.host.device import kernels_own
from engines.job.errors import Refused

NOBODY = 65534


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder of root's, seen by one who is not root."""
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed/there").mkdir()
    os.seteuid(NOBODY)
    try:
        yield tmp_path / "closed"
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("inner", ["there/new", "lacking/new", "new"])
def test_what_lies_in_a_closed_folder_is_taken_as_not_there(closed: Path, inner: str) -> None:
    with pytest.raises(PermissionError):
        (closed / "there").stat()
    assert not kernels_own(closed / inner)
    refuse_place(str(closed / inner), "a folder")
    with pytest.raises(Refused, match="Permission denied"):
        looked_at(closed / inner, powered_off=False, store="")


def test_a_circle_of_links_is_no_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    refuse_place(str(tmp_path / "a/new"), "a folder")
    with pytest.raises(Refused, match="symbolic links"):
        looked_at(tmp_path / "a/new", powered_off=False, store="")


def test_what_is_the_kernels_is_known_to_all(closed: Path) -> None:
    assert kernels_own(Path("/proc/lacking/new"))
    with pytest.raises(Refused, match="lies among devices"):
        refuse_place("/dev/new", "a folder")
