"""What lies on two disks of a moment is whole, subvolumes are found by number, damaged superblocks mount; one boot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.backup.files.appliance.driver import GuestfsDisk, open_libguestfs
from engines.backup.files.volumes.signatures import SPARE
from tests.engines.backup.files.images import MIB, Image, blank, mounted, run, table

pytestmark = [pytest.mark.boot, pytest.mark.soak]

BUILD = b"""set -e; exec 2>&1; udevadm settle
disk=$(readlink -f /dev/disk/by-path/*scsi-0:0:0:0); other=$(readlink -f /dev/disk/by-path/*scsi-0:0:1:0)
modprobe -q raid0 || true
lvm pvcreate -q ${disk}1 ${other}1; lvm vgcreate -q wide ${disk}1 ${other}1
lvm lvcreate -q -y -n striped -i 2 -L 16M wide; mkfs.ext4 -q -F /dev/wide/striped
lvm lvcreate -q -y -n far -L 4M wide ${other}1; mkfs.ext4 -q -F /dev/wide/far
mdadm -q -C /dev/md5 --run -l0 -n2 ${disk}2 ${other}2; mkfs.ext4 -q -F /dev/md5; mkfs.ext4 -q -F ${other}3
mkdir -p /tmp/m
for v in wide/striped md5; do mount /dev/$v /tmp/m; seq 200000 > /tmp/m/numbers; umount /tmp/m; done
sync; lvm vgchange -q -an wide; echo built"""
TOOLS = {
    "xfs": (("mkfs.xfs", "-q"), 320, 0),
    "btrfs": (("mkfs.btrfs", "-q", "--mixed"), 72, 65536),
}
NUMBERS = "".join(f"{number}\n" for number in range(1, 200001)).encode()


class First(Image):
    """The disk that is looked into, beside another of the same moment."""

    def __init__(self, path: Path, other: Image) -> None:
        super().__init__(path)
        self._other = other

    def beside(self) -> tuple[Image]:
        return (self._other,)


def hurt(folder: Path, name: str) -> Path:
    tool, size, place = TOOLS[name]
    image = blank(folder / name, size * MIB)
    run(*tool, image)
    with mounted(image) as root:
        if name == "btrfs":
            run("btrfs", "subvolume", "create", root / "@")
            run("btrfs", "subvolume", "create", root / "@/home")
            run("btrfs", "subvolume", "set-default", root / "@")
        (root / "numbers").write_bytes(NUMBERS)
    with image.open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes(4096))
    return image


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestfsDisk]:
    folder = tmp_path_factory.mktemp("spread")
    parts: list[tuple[Path | None, str]] = [(None, "size=24M"), (None, "size=16M")]
    parts += [(hurt(folder, name), "") for name in TOOLS]
    image = table(folder / "disk", "gpt", parts, 450 * MIB)
    further = blank(folder / "other", 64 * MIB)
    run("sfdisk", "-q", further, given="label: gpt\nsize=24M\nsize=16M\nsize=16M\n")
    other = Image(further)
    source = First(image, other)
    with open_libguestfs(source) as found:
        said = found.shell(BUILD)
        assert said.rstrip().endswith(b"built"), said.decode(errors="replace")
        found.look()
        yield found
    source.close()
    other.close()


def test_only_what_the_first_disk_is_a_part_of_is_listed(disk: GuestfsDisk) -> None:
    assert {info.name for info in disk.infos()} == {"p3", "p4", "wide-striped", "md5"}


@pytest.mark.parametrize("name", ["wide-striped", "md5", "p3", "p4"])
def test_its_files_are_whole(disk: GuestfsDisk, name: str) -> None:
    volume = disk.open(next(info for info in disk.infos() if info.name == name))
    assert volume.read(b"/numbers", 0, len(NUMBERS) + 1) == NUMBERS
    assert volume.state == (SPARE if name.startswith("p") else "")


def test_subvolumes_are_known_by_their_numbers(disk: GuestfsDisk) -> None:
    volume = disk.open(next(info for info in disk.infos() if info.name == "p4"))
    assert volume.default == b"/@"
    assert sorted(volume.subvolumes.values()) == [b"/@", b"/@/home"]
