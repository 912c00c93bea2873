"""systemd's units that are called by a device: those of an old disk are found, renamed and wanted again."""

from __future__ import annotations

from typing import cast

import pytest

from engines.guest.appliance import Appliance
from engines.guest.surgery import Surgery
from engines.guest.system import System
from engines.virtio import restock, swaps
from engines.virtio.edits import NEEDING, UNITS, FileEdit
from engines.virtio.lines import tables
from engines.virtio.lines.disks import Disks, escaped, unescaped
from engines.virtio.operation import SavedFile, SavedFiles
from tests.engines.virtio.test_by_bus import guest as inventory

DISK = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
UNIT = "dev-disk-by\\x2did-ata\\x2dQEMU_HARDDISK_QM00001\\x2dpart2"
SDA = Disks("sda", "vda", more=(("sdb", "vdb"),), stable={f"{DISK}-part2": "UUID=22-22"})
FOLDER = "/etc/systemd/system"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/dev/sda2", "dev-sda2"),
        (f"{DISK}-part2", UNIT),
        ("/dev/a b/.c", "dev-a\\x20b-\\x2ec"),
        ("/dev/a.b:c", "dev-a.b:c"),
    ],
)
def test_a_path_and_its_units_name(path: str, name: str) -> None:
    assert (escaped(path), unescaped(name)) == (name, path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("What=/dev/sda2\n", "What=/dev/vda2\n"),
        (f"What = {DISK}-part2\n", "What = /dev/disk/by-uuid/22-22\n"),
        (f"Options=logdev={DISK}-part2\n", "Options=logdev=/dev/disk/by-uuid/22-22\n"),
        (f"After={UNIT}.device dev-sdb1.swap\n", "After=dev-disk-by\\x2duuid-22\\x2d22.device dev-vdb1.swap\n"),
        ("Requires=a.mount \\\n  dev-sda2.device\n", "Requires=a.mount \\\n  dev-vda2.device\n"),
        ("After=dev-sdc1.device my-dev-sda2.device dev-sda2.devices\n",) * 2,
    ],
)
def test_a_mount_names_the_new_disk(before: str, after: str) -> None:
    assert tables.unit(before, SDA) == after
    assert tables.unit(after, SDA) == after


def test_a_service_that_stands_on_a_device_does_so_further() -> None:
    text = "[Unit]\nBindsTo=dev-sda5.device\n#After=dev-sda5.swap\n[Service]\nExecStart=/x dev-sda5.device /dev/sda\n"
    assert tables.needing(text, SDA) == text.replace("BindsTo=dev-sda5", "BindsTo=dev-vda5")
    goes_on = "Requires=a.mount \\\n  dev-sda5.device\n"
    assert tables.needing(goes_on, SDA) == goes_on.replace("sda", "vda")
    assert NEEDING.fullmatch(f"{FOLDER}/x.service") and NEEDING.fullmatch(f"{FOLDER}/x.service.d/a.conf")
    assert UNITS.fullmatch(f"{FOLDER}/data.mount.d/a.conf") and not NEEDING.fullmatch(f"{FOLDER}/data.mount")


def guest(etc: dict[str, str], *links: str) -> System:
    files = {f"{FOLDER}/{name}": text.encode() for name, text in etc.items()}
    return System(cast("Appliance", None), "", [], {}, files, dict.fromkeys(links, "x"))


def test_what_is_set_beside_a_swap_unit_goes_with_it_and_what_lies_there_comes_back() -> None:
    beside, there = "[Swap]\nPriority=7\n", "[Swap]\nWhat=/dev/vda2\n"
    given = {"dev-sda2.swap": "[Swap]\nWhat=/dev/sda2\n", "dev-sda2.swap.d/a.conf": beside, "dev-vda2.swap": there}
    made = {path: (before, after) for path, before, after in swaps.renamed(guest(given), SDA)}
    assert made[f"{FOLDER}/dev-sda2.swap.d/a.conf"] == (beside.encode(), None)
    assert made[f"{FOLDER}/dev-vda2.swap.d/a.conf"] == (None, beside.encode())
    assert made[f"{FOLDER}/dev-vda2.swap"] == (there.encode(), there.encode())


def test_a_swap_unit_of_the_old_disk_gets_the_name_of_the_new_one_and_is_wanted_by_it() -> None:
    old = "[Swap]\nWhat=/dev/sda2\n"
    link = f"{FOLDER}/swap.target.wants/dev-sda2.swap"
    made = {path: (before, after) for path, before, after in swaps.renamed(guest({"dev-sda2.swap": old}, link), SDA)}
    assert made == {
        f"{FOLDER}/dev-sda2.swap": (old.encode(), None),
        f"{FOLDER}/dev-vda2.swap": (None, b"[Swap]\nWhat=/dev/vda2\n"),
        f"{FOLDER}/swap.target.d/10-crashcart-dev-vda2.conf": (None, b"[Unit]\nWants=dev-vda2.swap\n"),
    }


def test_a_swap_unit_by_serial_number_is_called_by_uuid() -> None:
    made = list(swaps.renamed(guest({f"{UNIT}.swap": f"[Swap]\nWhat={DISK}-part2\n"}), SDA))
    name = "dev-disk-by\\x2duuid-22\\x2d22"
    assert made[1] == (f"{FOLDER}/{name}.swap", None, b"[Swap]\nWhat=/dev/disk/by-uuid/22-22\n")


@pytest.mark.parametrize("name", ["dev-sdc1", "dev-zram0", "swapfile", "dev-vda2"])
def test_other_swap_units_stay(name: str) -> None:
    assert not list(swaps.renamed(guest({f"{name}.swap": f"[Swap]\nWhat=/{name}\n"}), SDA))


def test_a_putback_brings_the_old_unit_again_and_no_cache() -> None:
    old = f"{FOLDER}/dev-sda2.swap"
    saved = SavedFiles([SavedFile(old, b"[Swap]\n", ""), SavedFile("/etc/blkid.tab", b"x", "")], [])
    decided = restock._putting_back(cast("Surgery", None), inventory("UUID=1 / ext4 x 0 1\n"), saved)
    assert decided.edits == [FileEdit(old, None, b"[Swap]\n")]


def test_a_swap_unit_that_another_requires_stays() -> None:
    link = f"{FOLDER}/multi-user.target.requires/dev-sda2.swap"
    assert not list(swaps.renamed(guest({"dev-sda2.swap": "[Swap]\nWhat=/dev/sda2\n"}, link), SDA))
