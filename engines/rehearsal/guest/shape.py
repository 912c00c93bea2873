"""What a rehearsal guest looks like, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

MIB = 1024 * 1024
KERNEL = {
    "centos5": "2.6.18-398.el5",
    "centos6": "2.6.32-754.el6.x86_64",
    "centos7": "3.10.0-1160.el7.x86_64",
}
RELEASE = {
    "centos5": "CentOS release 5.11 (Final)",
    "centos6": "CentOS release 6.10 (Final)",
    "centos7": "CentOS Linux release 7.9.2009 (Core)",
}


@dataclass(frozen=True)
class Shape:
    """One guest.

    names: what its kernel calls ATA disks; xvd makes it look like a Xen guest. root: how fstab and the kernel
    line name the file systems; id and path are udev's links by serial number and by place. kernels: further kernels
    in the boot menu, as stanzas only where they end in `xen`. size, boot: MiB. virtio: whether its kernel has the
    drivers. old_glibc: its tools call the vsyscall page. xfs: the root's file system. old_lvm: its lvm knows no
    virtio disk, unless lvm_types names them in lvm.conf. uefi: GPT with an EFI system partition, whose loader only
    the machine's own firmware variables would name (CentOS 7's shape only). data: its fstab has a file system on a
    second disk, which `build.data_disk` makes.
    """

    family: Literal["centos5", "centos6", "centos7"] = "centos5"
    root: Literal["dev", "label", "uuid", "lvm", "id", "path"] = "dev"
    names: Literal["hd", "sd", "xvd"] = "hd"
    kernel: str = ""
    kernels: tuple[str, ...] = ()
    size: int = 1024
    boot: int = 100
    virtio: bool = True
    lvm_filter: bool = False
    old_glibc: bool = False
    resume: bool = False
    rpm: bool = False
    lilo: bool = False
    crypttab: bool = False
    kudzu: bool = True
    nic: str = "8139cp"
    xfs: bool = False
    old_lvm: bool = False
    lvm_types: bool = False
    uefi: bool = False
    data: bool = False
    format: Literal["raw", "qcow2"] = "raw"

    @property
    def version(self) -> str:
        """The kernel that boots by default."""
        return self.kernel or KERNEL[self.family]

    @property
    def disk(self) -> str:
        """The disk's name in the guest, before."""
        return self.names + "a"

    @property
    def filesystem(self) -> str:
        """Of /boot, and of the root unless that is XFS."""
        return "ext3" if self.family == "centos5" else "ext4"

    @property
    def root_filesystem(self) -> str:
        """Of the root."""
        return "xfs" if self.xfs else self.filesystem

    @property
    def initrd(self) -> str:
        """The stock initrd's name for the default kernel."""
        return initrd_name(self.family, self.version)


def initrd_name(family: str, version: str) -> str:
    """Where a distribution puts the initrd of a kernel, below /boot."""
    return f"initrd-{version}.img" if family == "centos5" else f"initramfs-{version}.img"


DEFAULT = Shape()
SHAPES: dict[str, Shape] = {
    "default": DEFAULT,
    "label": replace(DEFAULT, root="label"),
    "uuid": replace(DEFAULT, root="uuid"),
    "lvm": replace(DEFAULT, root="lvm"),
    "lvm-filter": replace(DEFAULT, root="lvm", lvm_filter=True),
    "xen": replace(DEFAULT, names="xvd", nic="xennet", kernels=("2.6.18-398.el5xen",)),
    "two-kernels": replace(DEFAULT, kernels=("2.6.18-371.el5",)),
    "old-glibc": replace(DEFAULT, old_glibc=True),
    "resume": replace(DEFAULT, resume=True),
    "centos6": Shape(family="centos6", names="sd"),
    "centos7": Shape(family="centos7", names="sd", root="uuid", resume=True),
    "centos7-xfs": Shape(family="centos7", names="sd", root="uuid", xfs=True),
    "uefi": Shape(family="centos7", names="sd", root="uuid", uefi=True),
    "by-id": Shape(family="centos6", names="sd", root="id"),
    "by-path": Shape(family="centos7", names="sd", root="path"),
    "old-lvm-types": replace(DEFAULT, root="lvm", old_lvm=True, lvm_types=True),
}
"""The rehearsal guests by name."""
