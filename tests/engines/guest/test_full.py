"""A guest cannot fill the host: what is read of it has an end, whatever sizes it claims."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from engines.boot.accel import Accelerator
from engines.boot.machine import SERIAL, Machine
from engines.boot.media import Disk, Hardware
from engines.guest import system
from engines.guest.appliance import LONGEST, Appliance
from engines.job.errors import Refused


@pytest.mark.boot
def test_a_sparse_tebibyte_and_a_million_small_files_in_etc_cost_the_host_nothing(tmp_path: Path) -> None:
    disk, scratch = tmp_path / "disk.qcow2", tmp_path / "scratch"
    scratch.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "512M"], check=True)
    with Appliance(disk, tmp_path) as appliance:
        appliance.call("part_disk", "/dev/sda", "mbr")
        appliance.call("mkfs", "ext4", "/dev/sda1")
        appliance.call("mount", "/dev/sda1", "/")
        for folder in ("/etc", "/sbin", "/etc/sysconfig"):
            appliance.call("mkdir", folder)
        appliance.call("write", "/etc/fstab", b"/dev/sda1 / ext4 defaults 1 1\n")
        appliance.call("write", "/etc/sysconfig/network", b"HOSTNAME=web1\n")
        appliance.call("ln_s", "fstab", "/etc/table")
        appliance.call("touch", "/etc/huge")
        appliance.call("truncate_size", "/etc/huge", 1 << 40)
        appliance.call("umount_all")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = system.find(appliance, scratch)
        assert found.read("/etc/table") == b"/dev/sda1 / ext4 defaults 1 1\n"
        assert found.read("/etc/sysconfig/network") == b"HOSTNAME=web1\n"
        assert "/etc/huge" not in found.etc
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
        assert not list(scratch.iterdir())

        appliance.call("umount_all")
        appliance.call("mount", "/dev/sda1", "/")
        filling = (
            "cd /sysroot/etc; dd if=/dev/zero bs=1M count=1 of=z 2>/dev/null; for n in $(seq 40); do cp z z$n; done"
        )
        appliance.bytewise("shell", filling)
        appliance.call("umount_all")
        with pytest.raises(Refused, match="more than 32 MiB"):
            system.find(appliance, scratch)
        assert not list(scratch.iterdir())


def test_a_console_without_a_line_s_end_is_kept_short(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "none", tmp_path)
    for _ in range(100):
        appliance._note("x" * 100_000, streamed=True)
    assert len(appliance._partial) <= LONGEST
    appliance._note("y" * 1_000_000 + "\n", streamed=True)
    assert len(appliance.messages[-1]) <= LONGEST


@pytest.mark.boot
def test_a_serial_port_that_never_falls_silent_is_kept_short(tmp_path: Path) -> None:
    """A boot sector that does nothing but send; what is there already stands for the hours before."""
    loop = bytes.fromhex("ba f8 03 b0 41 ee eb fb")  # mov dx, 3f8h; mov al, 'A'; out dx, al; jmp
    disk = tmp_path / "disk"
    disk.write_bytes(loop.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    with Machine(Hardware((Disk(disk),)), accelerator=Accelerator("tcg", "for this test")) as machine:
        assert machine.wait_for("AAAA", where="serial", deadline=300).found
        serial = machine._folder / "serial"
        with serial.open("ab") as stream:
            stream.truncate(SERIAL + 1)
        machine.pause(0.5)
        assert serial.stat().st_size < SERIAL
        assert machine.wait_for("AAAA", where="serial", deadline=300).found
