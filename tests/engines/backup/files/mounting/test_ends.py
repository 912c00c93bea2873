"""However a mount ends, what it left is unmounted, and nothing that is somebody else's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from engines import tasks
from engines.backup.commands.mount import Server
from engines.backup.files.mounting import mounts
from engines.job.contract import Cancel, Context
from engines.job.params import convert
from tests.engines.backup.files.mounting.served import CRASHCART, PATIENCE, Guest, gone, mounted


def test_a_killed_run_takes_its_mount_along(guest: Guest, tmp_path: Path) -> None:
    with mounted(guest, tmp_path / "m") as found:
        found.process.kill()
        found.process.wait()
        deadline = time.monotonic() + PATIENCE
        while not gone(found.folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gone(found.folder)


def test_what_a_killed_server_left_is_unmounted_by_the_next_command_and_nothing_else(
    guest: Guest, tmp_path: Path
) -> None:
    with mounted(guest, tmp_path / "m") as killed, mounted(guest, tmp_path / "other") as alive:
        server = killed.server
        os.kill(killed.process.pid, signal.SIGSTOP)  # it must not tidy up
        os.kill(server, signal.SIGKILL)
        killed.process.kill()
        killed.process.wait()
        with pytest.raises(OSError) as stale:
            list(killed.folder.iterdir())
        assert stale.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        subprocess.run([*CRASHCART, "backup", "list", "--repo", guest.repo], check=True, capture_output=True)
        assert gone(killed.folder)
        assert list(killed.folder.iterdir()) == []
        assert (alive.folder / "etc/hosts").read_text() == "127.0.0.1 localhost\n"


def test_a_server_that_dies_is_told_and_unmounted(guest: Guest, tmp_path: Path) -> None:
    with mounted(guest, tmp_path / "m") as found:
        os.kill(found.server, signal.SIGKILL)
        _, said = found.process.communicate(timeout=PATIENCE)
        assert found.process.returncode == 1
        assert b"ended early" in said
        assert gone(found.folder)


def test_unmounting_it_by_hand_ends_the_run(guest: Guest, tmp_path: Path) -> None:
    with mounted(guest, tmp_path / "m") as found:
        (found.folder / "etc/hosts").read_text()
        subprocess.run(["umount", str(found.folder)], check=True)
        _, said = found.process.communicate(timeout=PATIENCE)
        assert found.process.returncode == 0
        assert b"is unmounted: " in said


def test_the_end_of_a_run_leaves_a_mount_of_the_same_run_name_in_another_home_alone(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tasks.engine("backup-mount")

    def opened(home: str) -> Server:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / home))
        folder = tmp_path / home / "m"
        folder.mkdir(parents=True)
        params = convert(engine.params, {"repo": guest.repo, "point": guest.point, "folder": str(folder)})
        plan = msgspec.structs.replace(engine.plan(params, Cancel()), params=params)
        run = tmp_path / home / "20261130T114835Z-backup-mount-m"
        run.mkdir()
        server = Server(plan, Context(folder=run, cancel=Cancel()), None)
        assert next(said for said in server.said() if said).ready
        return server

    stays, ends = opened("a"), opened("b")
    try:
        ends.end()
        assert mounts.is_mounted(stays.mount)
        assert not mounts.is_mounted(ends.mount)
    finally:
        stays.end()
        ends.end()


def test_a_mount_whose_name_leads_elsewhere_is_taken_away_and_nothing_else(guest: Guest, tmp_path: Path) -> None:
    theirs, host = tmp_path / "theirs", tmp_path / "host"
    theirs.mkdir()
    (host / "m").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "crashcart-test", str(host / "m")], check=True)
    try:
        with mounted(guest, theirs / "m") as found:
            theirs.rename(tmp_path / "away")
            theirs.symlink_to(host)
            found.stop()
            assert gone(tmp_path / "away")
            assert os.path.ismount(host / "m")
            theirs.unlink()
    finally:
        subprocess.run(["umount", str(host / "m")], check=False)
