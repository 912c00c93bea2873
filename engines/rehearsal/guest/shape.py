"""What a rehearsal guest looks like, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

MIB = 1024 * 1024
KERNEL = {
    "centos5": "2.6.18-398.el5",
    "centos6": "2.6.32-754.el6.x86_64",
    "centos7": "3.10.0-1160.el7.x86_64",
    "debian5": "2.6.26-2-amd64",
    "suse11": "3.0.101-108-default",
    "alpine": "",
    "arch": "",
}
RELEASE = {
    "centos5": "CentOS release 5.11 (Final)",
    "centos6": "CentOS release 6.10 (Final)",
    "centos7": "CentOS Linux release 7.9.2009 (Core)",
    "debian5": "5.0.10",
    "suse11": "SUSE Linux Enterprise Server 11 (x86_64)",
    "alpine": "Alpine Linux v3.18",
    "arch": "Arch Linux",
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
    second disk, which `build.data_disk` makes. console: a further one on the kernel line and in inittab. adapter: the
    alias of the disk controller's driver in modprobe.conf (CentOS 5's). builtin: as if virtio were in the kernel, whose
    initrds then load it unasked. stops: its init stops in emergency mode where a mount fails, as systemd does.
    all-uuid: swap, too. alpine boots by SYSLINUX; it and arch name kernels without versions.
    """

    family: Literal["centos5", "centos6", "centos7", "debian5", "suse11", "alpine", "arch"] = "centos5"
    root: Literal["dev", "label", "uuid", "all-uuid", "lvm", "id", "path"] = "dev"
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
    console: str = ""
    adapter: str = ""
    builtin: bool = False
    stops: bool = False
    format: Literal["raw", "qcow2"] = "raw"

    @property
    def version(self) -> str:
        """The kernel that boots by default."""
        return self.kernel or KERNEL[self.family] or host_version()

    @property
    def grub2(self) -> str:
        """GRUB 2's folder in /boot; empty where it is not the boot loader."""
        return {"centos7": "grub2", "arch": "grub"}.get(self.family, "")

    @property
    def tool(self) -> str:
        """The initrd tool's path in the guest."""
        found = {
            "centos5": "sbin/mkinitrd", "centos6": "sbin/dracut", "centos7": "usr/bin/dracut",
            "debian5": "usr/sbin/mkinitramfs", "suse11": "sbin/mkinitrd", "alpine": "sbin/mkinitfs",
        }  # fmt: skip
        return found.get(self.family, "usr/bin/mkinitcpio")

    def kernel_file(self, version: str) -> str:
        """A kernel's name in /boot."""
        return {"alpine": "vmlinuz-lts", "arch": "vmlinuz-linux"}.get(self.family, f"vmlinuz-{version}")

    @property
    def disk(self) -> str:
        """The disk's name in the guest, before."""
        return self.names + "a"

    @property
    def filesystem(self) -> str:
        """Of /boot, and of the root unless that is XFS."""
        return "ext3" if self.family in ("centos5", "debian5", "suse11") else "ext4"

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
    names = {
        "centos5": f"initrd-{version}.img", "debian5": f"initrd.img-{version}", "suse11": f"initrd-{version}",
        "alpine": "initramfs-lts", "arch": "initramfs-linux.img",
    }  # fmt: skip
    return names.get(family, f"initramfs-{version}.img")


def host_version() -> str:
    """The version that the kernel of the rehearsal says of itself."""
    from engines.rehearsal.guest import parts

    return parts.kernel()[1].name


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
    "all-uuid": Shape(family="centos6", names="sd", root="all-uuid"),
    "debian5": Shape(family="debian5", names="sd"),
    "suse11": Shape(family="suse11", names="sd"),
    "alpine": Shape(family="alpine", names="sd"),
    "arch": Shape(family="arch", names="sd"),
    "xen-hvc": Shape(family="centos6", names="xvd", console="hvc0"),
    "builtin": Shape(family="centos6", names="sd", builtin=True),
    "vmware": replace(DEFAULT, names="sd", adapter="mptspi", nic="vmxnet3"),
    "two-disks": replace(DEFAULT, data=True),
    "old-lvm-types": replace(DEFAULT, root="lvm", old_lvm=True, lvm_types=True),
}
"""The rehearsal guests by name."""
