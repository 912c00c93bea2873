"""What a guest's own names for its file systems mean on the disk that lies before us."""

from __future__ import annotations

import pytest

from engines.guest import specs
from engines.job.errors import Refused

TYPES = {"/dev/sda1": "ext4", "/dev/sda3": "ext4", "/dev/vg/root": "xfs", "/dev/md127": "ext4"}
UUIDS = {"/dev/sda1": "1111", "/dev/sda3": "3333", "/dev/vg/root": "", "/dev/md127": "aaaa"}


def call(name: str, device: str) -> object:
    """What libguestfs answers for that disk."""
    if name == "blkid":
        number = device[-1]
        return {"PART_ENTRY_UUID": f"DEADBEEF-0{number}", "PART_ENTRY_NAME": f"name {number}"}
    return UUIDS[device] if name == "vfs_uuid" else f"label {device[-1]}"


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        ("/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001-part3", "/dev/sda3"),
        ("/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001-part4", None),
        ("/dev/disk/by-path/pci-0000:00:01.1-ata-1-part1", "/dev/sda1"),
        ("/dev/disk/by-uuid/3333", "/dev/sda3"),
        ("UUID=aaaa", "/dev/md127"),
        ('UUID="1111"', "/dev/sda1"),
        (r"/dev/disk/by-label/label\x203", "/dev/sda3"),
        ("PARTUUID=deadbeef-03", "/dev/sda3"),
        ("/dev/disk/by-partuuid/deadbeef-01", "/dev/sda1"),
        (r"/dev/disk/by-partlabel/name\x201", "/dev/sda1"),
        ("/dev/mapper/vg-root", "/dev/vg/root"),
        ("/dev/hda3", "/dev/sda3"),
        ("/dev/md0", "/dev/md127"),
        ("/dev/nvme0n1p3", "/dev/sda3"),
        ("/dev/cciss/c0d0p1", "/dev/sda1"),
        ("/dev/nvme0n1p4", None),
        ("nas:/x", None),
    ],
)
def test_every_way_to_name_a_partition_is_understood(spec: str, device: str | None) -> None:
    assert specs.resolve(call, TYPES, spec) == device


@pytest.mark.parametrize(
    ("rows", "root", "letters"),
    [
        ([["/dev/hda1", "/", "ext3"], ["/dev/hdb1", "/var", "ext3"]], "/dev/hda1", "ab"),
        ([["UUID=1", "/", "ext3"], ["/dev/sdb1", "/var", "ext3"]], "UUID=1", "ab"),
        ([["/dev/sdb1", "/", "ext3"], ["/dev/sda1", "/var", "ext3"]], "/dev/sdb1", "ba"),
        ([["/dev/hda1", "/", "ext3"], ["/dev/hdc", "/cd", "udf,iso9660"]], "/dev/hda1", "a"),
        ([], "", "a"),
        ([["/dev/nvme0n1p1", "/", "ext4"], ["/dev/nvme1n1p1", "/var", "ext4"]], "/dev/nvme0n1p1", "AB"),
        ([["UUID=1", "/", "ext4"], ["/dev/cciss/c0d1p1", "/var", "ext4"]], "/dev/cciss/c0d0p1", "AB"),
        ([["/dev/nvme0n1p1", "/", "ext4"], ["/dev/sda1", "/usb", "ext4"]], "/dev/nvme0n1p1", "Aa"),
    ],
)
def test_letters_are_disks_in_their_order_with_the_roots_first(rows: list[list[str]], root: str, letters: str) -> None:
    assert specs.letters(rows, root) == letters


BOOT, CARD = ["/dev/sda1", "/boot", "ext4"], ["/dev/mmcblk0p1", "/media/sd", "vfat"]
ROOT_BY_UUID = ["UUID=1", "/", "ext4"]


@pytest.mark.parametrize(
    ("rows", "own"),
    [
        ([ROOT_BY_UUID, BOOT, CARD], "/dev/sda1"),
        ([ROOT_BY_UUID, CARD, BOOT], "/dev/sda1"),
        ([ROOT_BY_UUID, BOOT, ["/dev/nvme0n1p1", "/data", "ext4"]], "/dev/sda1"),
        ([ROOT_BY_UUID, ["/dev/sda1", "/data", "ext4"], ["/dev/nvme0n1p1", "/boot", "ext4"]], "/dev/nvme0n1p1"),
        (
            [ROOT_BY_UUID, ["/dev/sda1", "/mnt/usb", "ext4"], ["/dev/cciss/c0d0p1", "/home", "ext4"]],
            "/dev/cciss/c0d0p1",
        ),
        (
            [ROOT_BY_UUID, ["/dev/sda1", "/a", "ext4", "nofail"], ["/dev/nvme0n1p1", "/b", "ext4", "x"]],
            "/dev/nvme0n1p1",
        ),
        ([ROOT_BY_UUID, ["/dev/sda1", "/a", "xfs"], ["/dev/nvme0n1p1", "/b", "ext3"]], "/dev/nvme0n1p1"),
        ([ROOT_BY_UUID, ["/dev/mmcblk0p1", "/boot", "ext4"]], "/dev/mmcblk0p1"),
    ],
)
def test_the_disk_before_us_is_of_the_family_whose_rows_fit_it(rows: list[list[str]], own: str) -> None:
    found = specs.letters(rows, "UUID=1", TYPES)
    named = [row[0] for row in rows if row[0].startswith("/dev/")]
    assert [name for name in named if specs.resolve(call, TYPES, name, found) == "/dev/sda1"] == [own]


def test_more_disks_than_the_appliance_has_letters_for_are_refused_in_words() -> None:
    rows = [[f"/dev/sd{chr(ord('a') + at)}1", f"/{at}", "ext4"] for at in range(26)]
    rows.append(["/dev/nvme0n1p1", "/x", "ext4"])
    letters = specs.letters(rows, "/dev/sda1")
    with pytest.raises(Refused, match="more than 26 disks, /dev/sdz1 among them"):
        for row in rows:
            specs.resolve(call, TYPES, row[0], letters)


def test_a_partition_of_a_second_disk_is_never_taken_for_the_firsts() -> None:
    assert specs.resolve(call, TYPES, "/dev/hdb3", "ab") is None
    assert specs.resolve(call, {**TYPES, "/dev/sdb3": "ext4"}, "/dev/hdb3", "ab") == "/dev/sdb3"
    assert specs.resolve(call, TYPES, "/dev/hdb3", "ba") == "/dev/sda3"
