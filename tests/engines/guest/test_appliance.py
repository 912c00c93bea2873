"""The libguestfs worker: stops at once, leaves nothing, says why, and is swept after."""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from engines.boot import accel
from engines.guest import appliance_kernel, attempts, leftover_sockets
from engines.guest.appliance import Appliance, GuestError, NoRoom
from engines.guest.system import System
from engines.job.contract import Cancel
from engines.job.errors import Stopped
from engines.rehearsal.guest import parts
from tests.absent import absent


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


def test_a_full_file_system_below_the_overlay_is_named_at_once(tmp_path: Path) -> None:
    """QEMU would keep the appliance waiting for room, without a word, until a call's time is over."""
    if os.geteuid() != 0:
        absent("needs root, to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=True)
    try:
        (small / "run").mkdir()
        top = small / "run/disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", top, "64M"], check=True)
        (small / "filler").write_bytes(bytes(5 << 20))
        appliance = Appliance(top, small / "run")
        with pytest.raises(NoRoom, match=f"^{small} is full") as full:
            appliance.start()
        assert "TMPDIR" in full.value.what_helps
        assert not appliance.alive
    finally:
        subprocess.run(["umount", "-l", small], check=True)


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


@pytest.mark.boot
def test_a_killed_runs_folder_is_swept_and_nobody_elses(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    others = Path(tempfile.mkdtemp(prefix="libguestfs", dir="/tmp"))
    os.utime(others, (1, 1))
    child = os.fork()
    if child == 0:
        Appliance(disk, tmp_path).start()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (noted,) = (tmp_path / "cache" / "crashcart" / "appliances").iterdir()
    assert leftover_sockets.sweep() == [Path("/tmp") / noted.name]
    assert not (Path("/tmp") / noted.name).exists()
    assert others.exists()
    others.rmdir()


@pytest.mark.boot
def test_a_kvm_that_opens_but_runs_no_appliance_is_tried_once_and_remembered(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where KVM does work the appliance simply runs with it; either way it must come up without help."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    accel._remember(accel.located("qemu-system-x86_64"), accel.Accelerator("kvm", "a trial that was too easy"))
    assert attempts.known(Cancel())[0].tcg is (not Path("/dev/kvm").exists())
    with Appliance(disk, tmp_path) as appliance:
        assert appliance.call("list_partitions") == []
        failed = any("with KVM" in message for message in appliance.messages)
    assert [attempt.name for attempt in attempts.known(Cancel())].count("with KVM") == (
        0 if failed or not Path("/dev/kvm").exists() else 1
    )


def test_a_kernel_is_unpacked_to_an_elf_that_qemu_boots_or_left_as_it_is(tmp_path: Path) -> None:
    packed = parts.kernel()[0].read_bytes()
    assert appliance_kernel.unpacked(packed)[:4] == b"\x7fELF"
    for damaged in (b"", b"no kernel" * 1000, packed[:5000], packed[:20000] + bytes(len(packed) - 20000)):
        with pytest.raises((ValueError, struct.error)):
            appliance_kernel.unpacked(damaged)
    assert appliance_kernel.fixed(tmp_path / "nowhere") is None


@pytest.mark.boot
def test_a_guests_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    """A sparse terabyte costs the guest nothing, and a device gives bytes for ever."""
    if os.geteuid() != 0:
        absent("needs root, to make a device in a file system")
    root, image, top = tmp_path / "root", tmp_path / "disk", tmp_path / "disk.qcow2"
    root.mkdir()
    (root / "menu").write_text("title\n")
    with (root / "large").open("wb") as made:
        made.truncate(1 << 40)
    (root / "lines").write_text("\n" * 1001)
    (root / "many").mkdir()
    for number in range(5000):
        (root / "many" / f"{number:0250}").touch()
    os.mknod(root / "zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    with image.open("wb") as made:
        made.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "64bit,huge_file", "-d", root, image], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", top], check=True)
    appliance = Appliance(top, tmp_path)
    try:
        appliance.start()
        appliance.call("mount_ro", "/dev/sda", "/")
        system = System(appliance, "/dev/sda", [("/", "/dev/sda")], {})
        assert system.read("/menu") == b"title\n"
        assert system.read("/large") is None
        assert system.read("/zero") is None
        assert system.read("/lines") is None
        assert system.names("/many") == [] and "large" in system.names("/")
        assert len(system.warnings) == 2
        with pytest.raises(GuestError, match="more than"):
            system.content("/large", 1 << 20)
    finally:
        appliance.kill()
