"""The kernel that boots on a victim's disk is nobody else's, wherever libguestfs keeps it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engines.guest import appliance_kernel

NOBODY = 65534


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An appliance that would be taken: this machine's own, or its kernel with empty files beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    monkeypatch.delenv("LIBGUESTFS_PATH", raising=False)
    folder = appliance_kernel.made()
    assert folder == tmp_path / f".guestfs-{os.getuid()}" / "appliance.d"
    folder.mkdir(parents=True, mode=0o755)
    shutil.copy(max(Path("/boot").glob("vmlinuz-*")), folder / "kernel")
    for name in ("initrd", "root"):
        (folder / name).write_bytes(b"x")
    return folder


def test_one_of_ours_is_taken_from_where_libguestfs_was_told_to_keep_it(planted: Path) -> None:
    assert appliance_kernel.fixed() is not None


@pytest.mark.parametrize(
    ("which", "how"),
    [
        *((which, how) for which in ("..", ".", "kernel", "initrd", "root") for how in ("another's", "writable")),
        ("..", "link"),
        (".", "link"),
    ],
)
def test_one_in_which_others_have_a_say_is_not(planted: Path, which: str, how: str) -> None:
    assert appliance_kernel.fixed() is not None
    place = (planted / which).resolve()
    if how == "another's":
        os.chown(place, NOBODY, NOBODY)
    elif how == "writable":
        place.chmod(0o777)
    else:
        place.rename(place.with_name("moved"))
        place.symlink_to(place.with_name("moved"))
    assert appliance_kernel.fixed() is None
