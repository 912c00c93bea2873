"""A real Debian 12 on one partition: GRUB 2, systemd, initramfs-tools, its initrd made on IDE by MODULES=dep.

`dep` takes what the machine needs that it runs on (initramfs.conf(5)): built on IDE, such an initrd has no virtio.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from engines.boot.machine import Machine
from engines.boot.media import Disk, Hardware
from engines.boot.watch import Seen
from engines.boot.witness import witness
from engines.guest.appliance import Appliance
from engines.guest.system import PATH
from engines.rehearsal.guest.parts import cache

MIB = 1 << 20
SIZE, FIRST = 1536 * MIB, 1 * MIB
PACKAGES = "linux-image-amd64,initramfs-tools,grub-pc,systemd-sysv,udev,kmod,e2fsprogs"
MIRROR = "http://deb.debian.org/debian"
BOOTED = r"DEBIAN-BOOTED root=(\S+) names=(\S+) failed=\[(.*)\]"
LOST = r"ALERT! +\S+ does not exist|Kernel panic"
FILES = {
    "etc/fstab": "/dev/sda1 / ext4 errors=remount-ro 0 1\n/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n",
    "etc/hostname": "lenny\n",
    "etc/initramfs-tools/conf.d/driver-policy": "MODULES=dep\n",
    "etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=1\nGRUB_DISTRIBUTOR=Debian\nGRUB_TERMINAL=console\n"
    'GRUB_DISABLE_LINUX_UUID=true\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="nomodeset"\n',
    "boot/grub/device.map": "(hd0)\t/dev/sda\n",
    "etc/systemd/system/witness.service": "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\n"
    "ExecStart=/usr/local/sbin/witness\n[Install]\nWantedBy=multi-user.target\n",
    "usr/local/sbin/witness": r"""#!/bin/sh
# Says what the system booted from, then powers off; at its first boot it makes its initrd for this machine.
exec >/dev/ttyS0 2>&1
if [ -e /etc/first-boot ]; then
	rm /etc/first-boot
	update-initramfs -u -k all || echo "DEBIAN-FAILED update-initramfs"
fi
root=$(awk '$2 == "/" {print $1}' /proc/self/mounts)
echo "DEBIAN-BOOTED root=$root names=$(awk '$2 == "/" {print $1}' /etc/fstab)" \
	"failed=[$(systemctl --failed --plain --no-legend | awk '{print $1}' | tr '\n' ' ')]"
sync
systemctl --no-block poweroff
""",
}


def guest(path: Path) -> Path:
    """A copy of the guest at `path`, raw; built once, in ten minutes, and kept with the rehearsal's parts."""
    kept = cache() / "debian-bookworm-dep.img"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="crashcart-debian-", dir=kept.parent) as folder:
            _build(Path(folder)).rename(kept)
    subprocess.run(["cp", "--sparse=always", kept, path], check=True)
    return path


def boot(image: Path, bus: str) -> Seen:
    """Boot it until it has said what it runs from; what it writes is thrown away."""
    hardware = Hardware(media=(Disk(image, bus=bus),), memory=512, extra=("-device", "virtio-net-pci"))  # type: ignore[arg-type]  # the test's own words
    return witness(hardware, BOOTED, deadline=900.0)


def lost(image: Path, bus: str) -> Seen:
    """Boot it until it gives up on its root: `ok` means that it did, as the screen says."""
    hardware = Hardware(media=(Disk(image, bus=bus),), memory=512)  # type: ignore[arg-type]  # the test's own words
    return witness(hardware, LOST, deadline=900.0)


def _build(folder: Path) -> Path:
    tree, disk, work = folder / "tree", folder / "disk.img", folder / "work.qcow2"
    _run("unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", tree, MIRROR)
    _settle(tree)
    _partitioned(disk)
    size = (SIZE - FIRST) // 1024
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={FIRST},root_owner=0:0", "-d", tree, disk, f"{size}k")
    _run("qemu-img", "convert", "-O", "qcow2", disk, work)
    _loader(work, folder)
    _first_boot(work)
    _run("qemu-img", "convert", "-O", "raw", work, disk)
    return disk


def _settle(tree: Path) -> None:
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "usr/local/sbin/witness").chmod(0o755)
    (tree / "etc/first-boot").touch()
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "witness.service").symlink_to("../witness.service")
    shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)


def _partitioned(disk: Path) -> None:
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", FIRST // 512, (SIZE - FIRST) // 512)
    with disk.open("wb") as stream:
        stream.truncate(SIZE)
        stream.seek(446)
        stream.write(entry)
        stream.seek(510)
        stream.write(b"\x55\xaa")


def _first_boot(work: Path) -> None:
    """On IDE, to the power-off: only then is everything on the disk."""
    with Machine(Hardware(media=(Disk(work, "qcow2", snapshot=False),), memory=1024)) as machine:
        seen = machine.wait_for("DEBIAN-FAILED", deadline=1800.0)
        said = machine.serial().decode("latin-1")
        if seen.how != "exited" or "DEBIAN-BOOTED root=/dev/sda1" not in said:
            raise RuntimeError(f"its first boot: {seen.how}: {said[-1500:]} {machine.screen()}")


def _loader(work: Path, folder: Path) -> None:
    """GRUB 2 by the guest's own grub-install and update-grub, as the installer does it; the disk is sda there too."""
    with Appliance(work, folder) as appliance:
        appliance.call("mount", "/dev/sda1", "/")
        said = appliance.call("sh", f"{PATH}{{ grub-install --target=i386-pc /dev/sda && update-grub; }} 2>&1; echo $?")
        if "Installation finished" not in said or not said.rstrip().endswith("\n0"):
            raise RuntimeError(f"grub-install: {said}")
        appliance.call("umount_all")
        appliance.close()


def _run(*command: str | Path) -> None:
    """Raises CalledProcessError."""
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
