"""A mount is found whatever its folder is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engines.host.mountinfo import mounts
from tests.absent import absent


@pytest.mark.parametrize(
    "name", ["plain", "a b\tc\nd", "form\x0cfeed\x85\u2028", "back\\slash \\040 - x", os.fsdecode(b"\xff")]
)
def test_a_mount_has_its_own_name(tmp_path: Path, name: str) -> None:
    if os.geteuid() != 0:
        absent("needs root to mount")
    folder = tmp_path / name
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "crashcart test", str(folder)], check=True)
    try:
        (found,) = [mount for mount in mounts() if mount.folder == str(folder)]
        assert (found.kind, found.source) == ("tmpfs", "crashcart test")
        device = folder.stat().st_dev
        assert found.number == f"{os.major(device)}:{os.minor(device)}"
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert str(folder) not in {mount.folder for mount in mounts()}
