"""The root is found on arrays, subvolumes and beside leftovers; where it is not, the reason is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engines.guest import system
from engines.guest.appliance import Appliance
from engines.job.errors import Refused
from engines.rehearsal.guest import tree
from engines.rehearsal.guest.build import layout
from engines.rehearsal.guest.shape import DEFAULT, SHAPES
from engines.virtio import initrd
from engines.virtio.kernels import Kernel
from tests.engines.guest.images import sha256
from tests.engines.virtio.clinic import Clinic

pytestmark = [pytest.mark.boot, pytest.mark.soak]

SUPERMIN = Path("/usr/lib/x86_64-linux-gnu/guestfs/supermin.d")
DEEP = Kernel(
    "3.10", {"raid1.ko": (), "btrfs.ko": (), "dm-mod.ko": (), "virtio_blk.ko": (), "virtio_pci.ko": ()}, frozenset()
)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guest's tree as a tar archive, all of it on one file system."""
    folder = tmp_path_factory.mktemp("grown")
    tree.grow(DEFAULT, folder / "tree")
    (folder / "tree/etc/fstab").write_text("LABEL=/ / ext3 defaults 1 1\n")
    subprocess.run(["tar", "-C", folder / "tree", "-cf", folder / "tree.tar", "."], check=True)
    shutil.rmtree(folder / "tree")
    return folder / "tree.tar"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Appliance]:
    """An appliance over a disk with two empty partitions."""
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], check=True)
    with Appliance(disk, tmp_path) as appliance:
        appliance.call("part_init", "/dev/sda", "mbr")
        appliance.call("part_add", "/dev/sda", "p", 2048, 1000000)
        appliance.call("part_add", "/dev/sda", "p", 1000448, 2000000)
        yield appliance


def fill(appliance: Appliance, root: str, grown: Path) -> None:
    appliance.call("mount", root, "/")
    appliance.call("tar_in", str(grown), "/")
    appliance.call("umount_all")


def test_the_same_disk_holds_a_root_on_an_array_then_on_a_subvolume_then_twice(
    bare: Appliance, grown: Path, tmp_path: Path
) -> None:
    bare.call("md_create", "m0", ["/dev/sda1"], missingbitmap=2, nrdevices=2, level="raid1")
    array = bare.call("list_md_devices")[0]
    bare.call("mkfs", "ext3", array)
    fill(bare, array, grown)
    found = system.find(bare, tmp_path)
    assert found.root == array
    assert found.types[array] == "ext3"
    assert initrd.must_hold(found, DEEP) == ["raid1", "virtio_blk", "virtio_pci"]

    bare.call("umount_all")
    bare.call("md_stop", array)
    bare.call("zero", "/dev/sda1")
    bare.call("mkfs", "btrfs", "/dev/sda2")
    bare.call("mount", "/dev/sda2", "/")
    bare.call("btrfs_subvolume_create", "/root")
    bare.call("umount_all")
    fill(bare, "btrfsvol:/dev/sda2/root", grown)
    found = system.find(bare, tmp_path)
    assert found.root == "btrfsvol:/dev/sda2/root"
    assert found.types[found.root] == "btrfs"
    assert initrd.must_hold(found, DEEP) == ["btrfs", "virtio_blk", "virtio_pci"]

    bare.call("umount_all")
    for device in ("/dev/sda1", "/dev/sda2"):
        bare.call("wipefs", device)
        bare.call("mkfs", "ext3", device)
        fill(bare, device, grown)
    with pytest.raises(Refused, match="the disk holds 2 systems"):
        system.find(bare, tmp_path)


def test_a_leftover_that_looks_like_a_root_is_not_taken_for_one(clinic: Clinic, tmp_path: Path) -> None:
    """Two partitions have /etc/fstab and /sbin; only one is a system, says the slow inspection."""
    image = clinic.guest(DEFAULT)
    for name in ("etc", "sbin"):
        (tmp_path / "left" / name).mkdir(parents=True)
    (tmp_path / "left/etc/fstab").write_text("/dev/hda2 / ext2 defaults 1 1\n")
    swap = layout(DEFAULT)[1]
    where = f"offset={swap.offset}"
    command = ["mke2fs", "-q", "-F", "-t", "ext2", "-E", where, "-d", tmp_path / "left", image, f"{swap.size // 1024}k"]
    subprocess.run(command, check=True)
    before = sha256(image)
    plan = clinic.plan("virtio", image)
    assert dict(plan.facts)["root"] == "hda3, ext3"
    assert sha256(image) == before


def test_the_first_format_of_lvm_is_refused_by_name(clinic: Clinic) -> None:
    image = clinic.guest(SHAPES["lvm"])
    volume = layout(SHAPES["lvm"])[1]
    with image.open("r+b") as stream:
        stream.seek(volume.offset)
        stream.write(b"HM\x01\x00".ljust(1 << 20, b"\0"))
    before = sha256(image)
    with pytest.raises(Refused, match=r"/dev/sda2 has LVM's first format") as refused:
        clinic.plan("virtio", image)
    assert "vgconvert -M2" in refused.value.what_helps
    assert sha256(image) == before


def test_an_lvm_that_knows_no_virtio_disk_is_refused_before_it_panics(clinic: Clinic) -> None:
    image = clinic.guest(replace(SHAPES["lvm"], old_lvm=True))
    before = sha256(image)
    with pytest.raises(Refused, match="/sbin/lvm does not know virtio disks") as refused:
        clinic.plan("virtio", image)
    assert 'types = [ "virtblk", 16 ]' in refused.value.what_helps
    assert sha256(image) == before


@contextmanager
def environment(**wanted: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def test_an_appliance_that_cannot_read_xfs_says_which_package_helps(clinic: Clinic, tmp_path: Path) -> None:
    """libguestfs's own appliance, made without the package; its kernel is told to load no xfs."""
    image = clinic.guest(SHAPES["centos7-xfs"])
    before = sha256(image)
    shutil.copytree(SUPERMIN, tmp_path / "supermin.d", ignore=shutil.ignore_patterns("packages-xfs"))
    unable = {"LIBGUESTFS_APPEND": "module_blacklist=xfs"}
    poor = {"LIBGUESTFS_PATH": str(tmp_path), "LIBGUESTFS_CACHEDIR": str(tmp_path)}
    with (
        environment(**unable, **poor),
        pytest.raises(Refused, match="/dev/sda3 is xfs, which the appliance") as refused,
    ):
        clinic.plan("virtio", image, from_disk="sda")
    assert refused.value.what_helps == "apt-get install libguestfs-xfs"
    with (
        environment(**unable),
        pytest.raises(Refused, match=r"does not mount: /dev/sda3 \(xfs\): .*unknown filesystem"),
    ):
        clinic.plan("virtio", image, from_disk="sda")
    assert sha256(image) == before
