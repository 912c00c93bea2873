"""Every kind of logical volume shows its files: thin, snapshot, RAID, cached, divided once more, beside empty ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.backup.files.appliance.driver import GuestfsDisk, open_libguestfs
from engines.backup.files.model import BrowseError
from tests.engines.backup.files.images import MIB, Image, blank, run

pytestmark = pytest.mark.boot

# Within the appliance: its kernel has every target of the device mapper, and LVM is the real one.
BUILD = b"""set -e; exec 2>&1; udevadm settle
disk=$(readlink -f /dev/disk/by-path/*lun-0 | head -1); for d in /dev/sd?; do [ -b ${d}2 ] && disk=$d; done
for m in loop dm-snapshot dm-thin-pool dm-raid raid1 dm-cache dm-cache-smq dm-mirror; do modprobe -q $m || true; done
lvm pvcreate -q ${disk}1 ${disk}2; lvm vgcreate -q vg ${disk}1 ${disk}2
lvm lvcreate -q -y -n aaa -L 4M vg
lvm lvcreate -q -y -n plain -L 16M vg; mkfs.ext4 -q -F /dev/vg/plain
lvm lvcreate -q -y -s -n snap -L 8M vg/plain
lvm lvcreate -q -y --type raid1 -m 1 -n mirror -L 16M vg; mkfs.ext4 -q -F /dev/vg/mirror
lvm lvcreate -q -y -T -L 32M -n pool vg || echo no-thin
lvm lvcreate -q -y -T -V 24M -n thin vg/pool; mkfs.ext4 -q -F /dev/vg/thin
lvm lvcreate -q -y -s -n thinsnap vg/thin
lvm lvcreate -q -y -n cached -L 16M vg ${disk}1; mkfs.ext4 -q -F /dev/vg/cached
lvm lvcreate -q -y --type cache-pool -n fast -L 8M vg ${disk}2
lvm lvconvert -q -y --type cache --cachepool vg/fast vg/cached
lvm lvcreate -q -y -n parts -L 32M vg
printf 'label: dos\\nsize=8M\\nsize=16M\\n' | sfdisk -q --no-reread /dev/vg/parts
l=$(losetup -P -f --show /dev/vg/parts); udevadm settle; mkfs.ext4 -q -F ${l}p2; losetup -d $l
mkdir -p /tmp/m; for v in plain snap mirror thin cached; do
mount /dev/vg/$v /tmp/m; echo "of $v" > /tmp/m/file; umount /tmp/m; done
sync; lvm vgchange -q -an vg; echo built"""
FILES = {"plain": "plain", "snap": "snap", "mirror": "mirror", "thin": "thin", "cached": "cached"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestfsDisk]:
    image = blank(tmp_path_factory.mktemp("lvm") / "disk", 400 * MIB)
    run("sfdisk", "-q", image, given="label: gpt\nsize=190M, type=lvm\nsize=190M, type=lvm\n")
    source = Image(image)
    with open_libguestfs(source) as found:
        said = found.shell(BUILD)
        assert said.rstrip().endswith(b"built"), said.decode(errors="replace")
        found.look()
        yield found
    source.close()


def test_every_kind_of_volume_is_listed_and_read(disk: GuestfsDisk) -> None:
    infos = {info.name: info for info in disk.infos()}
    assert set(infos) == {"vg-aaa", "vg-parts-p1", "vg-parts-p2", *(f"vg-{each}" for each in (*FILES, "thinsnap"))}
    for name, word in FILES.items():
        assert disk.open(infos[f"vg-{name}"]).read(b"/file", 0, 100) == f"of {word}\n".encode(), name
    assert [node.name for node in disk.open(infos["vg-parts-p2"]).list(b"/")] == [b"lost+found"]
    assert [node.name for node in disk.open(infos["vg-thinsnap"]).list(b"/")] == [b"lost+found"]


def test_one_without_known_content_hides_none_and_is_named(disk: GuestfsDisk) -> None:
    blank_one = next(info for info in disk.infos() if info.name == "vg-aaa")
    assert (blank_one.format, blank_one.drivers) == ("", ())
    with pytest.raises(BrowseError, match="vg-aaa holds no file system"):
        disk.open(blank_one)
