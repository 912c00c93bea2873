"""The libguestfs worker: stops at once, leaves nothing, says why, and is swept after."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from engines.guest import strays
from engines.guest.appliance import Appliance, GuestError
from engines.job.contract import Cancel
from engines.job.errors import Stopped


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    return path


def group(number: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, owner = process.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if owner == str(number) and state not in "ZX":
            found.append(int(process.parent.name))
    return found


@pytest.mark.boot
def test_a_stop_during_the_launch_ends_it_at_once_with_all_its_processes(disk: Path, tmp_path: Path) -> None:
    cancel = Cancel()
    appliance = Appliance(disk, tmp_path, cancel)
    seen: list[int] = []

    def later() -> None:
        while len(seen) < 2:
            time.sleep(0.1)
            if appliance._child is not None:
                seen[:] = [appliance.pid, *[pid for pid in group(appliance.pid) if pid != appliance.pid]]
        cancel.set()

    watcher = threading.Thread(target=later)
    watcher.start()
    with pytest.raises(Stopped):
        appliance.start()
    watcher.join()
    assert seen
    assert group(seen[0]) == []


@pytest.mark.boot
def test_an_appliance_works_says_what_goes_wrong_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    with Appliance(disk, tmp_path) as appliance:
        assert appliance.call("list_partitions") == []
        appliance.call("part_disk", "/dev/sda", "mbr")
        assert appliance.call("list_partitions") == ["/dev/sda1"]
        written = bytes(range(256)) * 100
        appliance.call("pwrite_device", "/dev/sda1", written, 4096)
        assert appliance.call("pread_device", "/dev/sda1", len(written), 4096) == written
        with pytest.raises(GuestError, match="/dev/sda9"):
            appliance.call("mount", "/dev/sda9", "/")
        assert appliance.messages
        number = appliance.pid
        appliance.close()
    assert group(number) == []
    with pytest.raises(GuestError):
        appliance.call("list_partitions")


def test_an_image_that_is_none_is_told_in_libguestfs_words(tmp_path: Path) -> None:
    (tmp_path / "no.qcow2").write_bytes(b"no image" * 1000)
    appliance = Appliance(tmp_path / "no.qcow2", tmp_path)
    with pytest.raises(GuestError):
        appliance.start()
    said = " ".join(appliance.messages)
    appliance.kill()
    assert "not in qcow2 format" in said


def test_only_old_folders_that_nobody_uses_are_swept(tmp_path: Path) -> None:
    for name in ("libguestfsOLD", "libguestfsUSED", "libguestfsNEW", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "libguestfsUSED" / "socket").touch()
    for name in ("libguestfsOLD", "libguestfsUSED", "other"):
        os.utime(tmp_path / name, (1, 1))
    with (tmp_path / "libguestfsUSED" / "socket").open():
        assert strays.sweep(tmp_path) == [tmp_path / "libguestfsOLD"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["libguestfsNEW", "libguestfsUSED", "other"]
