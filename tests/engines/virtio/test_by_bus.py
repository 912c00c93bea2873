"""Whose disk a name by serial number or by place is, and what becomes of names of disks that are not given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from engines.guest.appliance import Appliance
from engines.guest.system import System
from engines.virtio import naming
from engines.virtio.initrd import Tool
from engines.virtio.inventory import GuestInventory, Loader
from engines.virtio.lines import grub1, tables, tools

ATA, OTHER = "/dev/disk/by-id/ata-DISK_A", "/dev/disk/by-id/ata-DISK_B"
MENU = "default=0\ntitle Linux\n\troot (hd0,0)\n\tkernel /vmlinuz-3.10 ro root={root}\n\tinitrd /initrd-3.10.img\n"
UUIDS = {"/dev/sda1": "b007", "/dev/sda2": "50a9", "/dev/sda3": "4007", "/dev/sdb1": "da7a"}
TYPES = {"/dev/sda1": "ext4", "/dev/sda2": "swap", "/dev/sda3": "ext4"}
DEBCONF = "Name: grub-pc/install_devices\nTemplate: x\nValue: {}\nOwners: grub-pc\n"


@dataclass
class Told(System):
    """A guest whose disk says what its file systems are called; `files` are those outside /etc."""

    files: dict[str, str] = field(default_factory=dict)

    @override
    def call(self, name: str, *args: Any, **named: Any) -> Any:
        device = args[0]
        if name == "blkid":
            return {"PART_ENTRY_UUID": f"beef-0{device[-1]}", "PART_ENTRY_NAME": f"name {device[-1]}"}
        return UUIDS.get(device, "") if name == "vfs_uuid" else f"label {device[-1]}"

    @override
    def read(self, path: str) -> bytes | None:
        return self.etc.get(path) if path.startswith("/etc/") else self.files.get(path, "").encode() or None


def guest(fstab: str, root: str = "UUID=4007", second: bool = False, **files: str) -> GuestInventory:
    """Root on the third partition, /boot on the first; files: by their names with _ for /, without /etc/."""
    etc = {"/etc/fstab": fstab.encode()}
    beside = {"/boot/grub/device.map": files.pop("map", ""), "/var/cache/debconf/config.dat": files.pop("debconf", "")}
    etc |= {f"/etc/{name.replace('__', '/')}": text.encode() for name, text in files.items()}
    types = {**TYPES, **({"/dev/sdb1": "ext4"} if second else {})}
    system = Told(Appliance(Path("none"), Path("none")), "/dev/sda3", [], types, etc, letters="a", files=beside)
    text = MENU.format(root=root)
    loader = Loader(1, "/boot/grub/menu.lst", text, grub1.entries(text), 0)
    return GuestInventory(system, loader, [], Tool("dracut", "/sbin/dracut"), "a Linux", "web1", "", 0)


def named(patient: GuestInventory, also: int = 0) -> tuple[dict[str, str], tuple[str, ...]]:
    found = naming.of(patient, "", "vda", also)
    return found.disks.stable, found.foreign


A = f"{ATA}-part3 / ext4 defaults 0 1\n{ATA}-part1 /boot ext4 defaults 0 2\n"
OWN = {f"{ATA}-part3": "UUID=4007", f"{ATA}-part1": "UUID=b007"}
LASTING = "UUID=4007 / ext4 x 0 1\nUUID=b007 /boot ext4 x 0 2\n"


def test_a_second_disk_of_the_same_class_is_another_one_though_its_partitions_fit() -> None:
    """Its first partition is ext4, as /boot is: it was taken for it."""
    assert named(guest(f"{A}{OTHER}-part1 /data ext4 x 0 2\n")) == (OWN, (f"{OTHER}-part1",))


def test_a_second_disk_that_is_given_has_its_own_partition() -> None:
    stable, foreign = named(guest(f"{A}{OTHER}-part1 /data ext4 x 0 2\n", second=True), also=1)
    assert stable == {**OWN, f"{OTHER}-part1": "UUID=da7a"}
    assert foreign == ()


@pytest.mark.parametrize(
    "row",
    [
        f"{OTHER}-part1 /data ext4 x 0 2\n",
        "/dev/disk/by-id/usb-WD_Passport-0:0-part2 /backup ext4 noauto 0 0\n",
        "/dev/disk/by-path/pci-0000:00:1d.7-usb-0:1:1.0-scsi-0:0:0:0-part2 /backup ext4 noauto 0 0\n",
        f"{OTHER}-part9 /data ext4 x 0 2\n",
        f"{OTHER}-part3 /data xfs x 0 2\n",
        f"{OTHER} /data ext4 x 0 2\n",
    ],
)
def test_what_is_on_another_disk_is_told_and_left(row: str) -> None:
    stable, foreign = named(guest(LASTING + row))
    assert stable == {}
    assert foreign == (row.split()[0],)


def test_a_drive_for_discs_is_neither_renamed_nor_missed() -> None:
    row = "/dev/disk/by-id/ata-QEMU_DVD-ROM_QM00003 /media/cdrom udf,iso9660 user,noauto 0 0\n"
    assert named(guest(A + row)) == (OWN, ())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ATA, "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"),
        (ATA, "/dev/disk/by-id/scsi-SATA_DISK_A"),
        ("/dev/disk/by-path/pci-0000:00:1f.2-ata-1", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0"),
        ("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_0", "/dev/disk/by-path/pci-0000:00:10.0-scsi-0:0:0:0"),
        ("/dev/disk/by-path/xen-vbd-51712", "/dev/disk/by-uuid/4007"),
        ("/dev/disk/by-path/acpi-VMBUS:00-scsi-0:0:0:0", "/dev/disk/by-id/nvme-X"),
    ],
)
def test_one_disk_has_several_names(one: str, other: str) -> None:
    rows = f"{one}-part3 / ext4 x 0 1\n{one}-part1 /boot ext4 x 0 2\n{other}-part2 none swap sw 0 0\n"
    stable, foreign = named(guest(rows))
    assert stable[f"{one}-part3"] == "UUID=4007"
    assert stable.get(f"{other}-part2") == ("UUID=50a9" if "by-uuid" not in other else None)
    assert foreign == (() if "by-uuid" not in other else (f"{other}-part2",))


@pytest.mark.parametrize(
    "files",
    [
        {"default__grub": f'GRUB_CMDLINE_LINUX="resume={ATA}-part2"\n'},
        {"initramfs-tools__conf.d__resume": f"RESUME={ATA}-part2\n"},
        {"crypttab": f"swap {ATA}-part2 /dev/urandom swap\n"},
        {"default__grub": f'GRUB_CMDLINE_LINUX="cryptdevice={ATA}-part2:swap"\n'},
    ],
)
def test_a_name_that_a_boot_reads_anywhere_lasts(files: dict[str, str]) -> None:
    assert named(guest(LASTING, **files)) == ({f"{ATA}-part2": "UUID=50a9"}, ())


def test_the_disk_that_grub_is_on_is_found_by_its_map_and_by_debconf() -> None:
    """Debian's installer writes all else by UUID: the next update of grub-pc would ask, or install nothing."""
    text = DEBCONF.format(ATA)
    patient = guest(LASTING, debconf=text, map=f"(hd0)\t{ATA}\n(hd1)\t{OTHER}\n")
    stable, foreign = named(patient)
    assert (stable, foreign) == ({ATA: "/dev/vda"}, (OTHER,))
    disks = naming.of(patient, "", "vda").disks
    assert tools.debconf(text, disks) == DEBCONF.format("/dev/vda")
    assert tables.device_map(f"(hd0)\t{ATA}\n(hd1)\t{OTHER}\n", disks) == f"(hd0)\t/dev/vda\n(hd1)\t{OTHER}\n"


def test_a_root_by_serial_number_in_the_menu_alone_tells_whose_disk_it_is() -> None:
    fstab = f"LABEL=x / ext4 x 0 1\n{OTHER}-part1 /data ext4 x 0 2\n"
    stable, foreign = named(guest(fstab, root=f"{ATA}-part3"))
    assert stable == {f"{ATA}-part3": "UUID=4007"}
    assert foreign == (f"{OTHER}-part1", "LABEL=x")


def test_lasting_names_of_a_disk_that_is_not_given_are_told() -> None:
    rows = "UUID=DA7A /data ext4 x 0 2\nLABEL=label\\0401 /old ext4 noauto 0 0\nPARTUUID=BEEF-03 / ext4 x 0 1\n"
    assert named(guest(rows)) == ({}, ("UUID=DA7A",))
    assert named(guest(rows, second=True), also=1) == ({}, ())
    assert tables.without(rows, ("UUID=DA7A",)) == f"# {rows}"


def test_a_disk_without_partitions_is_known_by_its_own_uuid() -> None:
    UUIDS["/dev/sdb"] = "5a9e"
    try:
        assert named(guest("UUID=5a9e none swap sw 0 0\n"), also=1) == ({}, ())
    finally:
        del UUIDS["/dev/sdb"]


@pytest.mark.parametrize(
    ("rows", "root", "name"),
    [
        ("/dev/sdb1 /data ext4 x 0 2\n", "UUID=4007", "sda"),  # its number is /boot's: another disk
        ("/dev/sdb1 /data xfs x 0 2\n", "UUID=4007", "sda"),
        ("/dev/sdb9 /data ext4 x 0 2\n", "UUID=4007", "sda"),
        ("/dev/hde2 none swap sw 0 0\n", "UUID=4007", "hde"),  # on a controller of its own
        ("/dev/hde9 /gone ext4 x 0 2\n/dev/hde2 none swap sw 0 0\n", "UUID=4007", "hde"),
        ("/dev/sdb1 /data ext4 x 0 2\n/dev/hda2 none swap sw 0 0\n", "UUID=4007", "hda"),
        ("/dev/nvme1n1p1 /data ext4 x 0 2\n", "UUID=4007", "nvme0n1"),
        ("/dev/cciss/c0d1p1 /data ext4 x 0 2\n", "UUID=4007", "cciss/c0d0"),
        ("/dev/nvme0n1p2 none swap sw 0 0\n", "UUID=4007", "nvme0n1"),
        ('"/dev/hde2" none swap sw 0 0\n', "UUID=4007", "hde"),
        ("/dev\\057hde2\tnone\tswap\tsw\t0\t0\n", "UUID=4007", "hde"),
        ("", "/dev/cciss/c0d0p3", "cciss/c0d0"),
        ("", "UUID=4007", "sda"),
    ],
)
def test_the_disks_own_name_is_that_of_a_disk_that_has_what_is_mounted_by_it(rows: str, root: str, name: str) -> None:
    patient = guest(LASTING.replace("UUID=4007", root, 1) + rows, root=root)
    assert naming.of(patient, "", "vda").disks.old == name


def test_another_disk_of_the_guests_is_mapped_only_where_it_is_given() -> None:
    patient = guest(f"{LASTING}/dev/sdb1 /data ext4 x 0 2\n", second=True)
    assert naming.of(patient, "", "vda").foreign == ("/dev/sdb",)
    assert naming.of(patient, "", "vda", 1).disks.more == (("sdb", "vdb"),)
