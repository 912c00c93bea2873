"""Which folder a guest starts from, and what its fstab joins: subvolumes, LVM, arrays, /dev names, two systems."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engines.backup.files import guest
from engines.backup.files.guest import Elsewhere, GuestMounts
from engines.backup.files.model import VolumeInfo
from tests.engines.backup.files.folder_volume import FolderVolume
from tests.fuzz.mutation import with_an_end

UUID = "11111111-2222-3333-4444-555555555555"


class Folder(FolderVolume):
    """A folder that says of itself what volume it is."""

    def __init__(
        self, root: Path, name: str, default: bytes = b"", *, subvolumes: dict[int, bytes] | None = None, **more: str
    ) -> None:
        super().__init__(root, name)
        self.default = default
        self.subvolumes = subvolumes or {}
        self.info = info(name, **more)


def info(name: str, **more: str) -> VolumeInfo:
    plain = VolumeInfo(name=name, format="ext4", offset=0, size=0, drivers=("quick",))
    return msgspec.structs.replace(plain, **more)


def system(folder: Path, fstab: str) -> Path:
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (folder / "etc/fstab").write_text(fstab)
    return folder


def joined(found: GuestMounts | None) -> dict[bytes, tuple[str, bytes]]:
    assert found is not None
    return {each.point: (each.volume, each.inner) for each in found.joined}


def test_subvolumes_beside_a_default_one_are_joined(tmp_path: Path) -> None:
    lines = [f"UUID={UUID} / btrfs defaults 0 0"]
    lines += [f"UUID={UUID} /{name} btrfs subvol=/@/{name} 0 0" for name in ("home", "var", ".snapshots")]
    system(tmp_path / "@/.snapshots/1/snapshot", "\n".join(lines))
    (tmp_path / "@/home").mkdir()
    volume = Folder(tmp_path, "p2", b"/@/.snapshots/1/snapshot", format="btrfs", uuid=UUID)
    found = guest.found([volume], [volume.info])
    assert joined(found) == {
        b"": ("p2", b"/@/.snapshots/1/snapshot"),
        b"/home": ("p2", b"/@/home"),
        b"/var": ("p2", b"/@/var"),
        b"/.snapshots": ("p2", b"/@/.snapshots"),
    }
    assert found is not None
    assert found.place(b"/etc/fstab") == ("p2", b"/@/.snapshots/1/snapshot/etc/fstab")
    assert found.place(b"/home/x") == ("p2", b"/@/home/x")


def test_a_root_that_its_fstab_names_by_subvolume_is_found_without_a_default(tmp_path: Path) -> None:
    system(tmp_path / "old", f"UUID={UUID} / btrfs subvol=gone 0 0")
    system(
        tmp_path / "root", f"UUID={UUID} / btrfs subvol=root,compress=zstd:1 0 0\nUUID={UUID} /home btrfs subvol=home"
    )
    volume = Folder(tmp_path, "p3", format="btrfs", uuid=UUID)
    assert joined(guest.found([volume], [volume.info])) == {b"": ("p3", b"/root"), b"/home": ("p3", b"/home")}


def test_every_way_to_name_a_volume_is_followed(tmp_path: Path) -> None:
    fstab = """
/dev/mapper/vg--a-root / ext4 defaults 0 1
/dev/vg-a/home /home ext4 defaults
LABEL=data /label ext4
PARTLABEL="EFI\\040system" /boot/efi vfat
UUID=AB12-CD34 /usb vfat noauto
/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001-part5 /id ext4
/dev/disk/by-label/big\\x20one /big ext4
/dev/md/0 /array ext4
/dev/sda6 /six ext4
/dev/sdb1 /other ext4
//host/share /share cifs
"""
    root = Folder(system(tmp_path / "root", fstab), "vg-a-root")
    known = [
        root.info, info("vg-a-home"), info("p1", label="data"), info("p2", partlabel="EFI system"),
        info("p3", uuid="AB12-CD34"), info("p5"), info("p4", label="big one"), info("md127"), info("p6"),
    ]  # fmt: skip
    found = guest.found([root], known)
    assert {point: volume for point, (volume, _) in joined(found).items()} == {
        b"": "vg-a-root", b"/home": "vg-a-home", b"/label": "p1", b"/boot/efi": "p2", b"/usb": "p3", b"/id": "p5",
        b"/big": "p4", b"/array": "md127", b"/six": "p6",
    }  # fmt: skip
    assert found is not None
    assert found.elsewhere == {b"/other": "/dev/sdb1"}


def test_what_lies_on_no_disk_or_not_there_yet_is_no_volume(tmp_path: Path) -> None:
    fstab = f"""UUID={UUID} / ext4\r
overlay /merged overlay lowerdir=/a,upperdir=/b\r
nas:/vol /nas nfs4 nofail,_netdev\r
user@host: /far fuse.sshfs noauto
hugetlbfs /dev/hugepages hugetlbfs mode=1770
/dev/cdrom /media/cdrom0 udf,iso9660 user,noauto 0 0
UUID=beef /late ext4 noauto,x-systemd.automount
UUID=beef /lost ext4 nofail
LABEL=two\\x20words /two ext4 nofail\r
LABEL= /none ext4 noauto
LABEL=data /twice ext4
UUID=beef /twice ext4
UUID=beef /again ext4
LABEL=data /again ext4
"""
    root = Folder(system(tmp_path / "root", fstab), "p1", uuid=UUID)
    found = guest.found([root], [root.info, info("p2", label="two words"), info("p3", label="data"), info("p4")])
    assert found is not None
    places = {point: volume for point, (volume, _) in joined(found).items()}
    assert places == {b"": "p1", b"/two": "p2", b"/again": "p3"}
    assert found.elsewhere == dict.fromkeys((b"/late", b"/lost", b"/twice"), "UUID=beef")


@pytest.mark.parametrize(
    ("root", "own"),
    [
        (f"UUID={UUID}", {}),  # which of the two disks this is, nothing tells
        ("/dev/disk/by-id/ata-B-part1", {b"/b": "p2", b"/wwn": "p4"}),
        ("ID=wwn-0x5-part1", {b"/wwn": "p4"}),
    ],
)
def test_a_name_by_another_disks_identity_is_not_this_disk(tmp_path: Path, root: str, own: dict[bytes, str]) -> None:
    fstab = f"""{root} / ext4
/dev/disk/by-id/ata-A-part3 /a ext4
/dev/disk/by-id/ata-B-part2 /b ext4
/dev/disk/by-id/wwn-0x5-part4 /wwn ext4
"""
    volume = Folder(system(tmp_path / "root", fstab), "p1", uuid=UUID)
    found = guest.found([volume], [volume.info, info("p2"), info("p3"), info("p4")])
    places = {point: name for point, (name, _) in joined(found).items() if point}
    assert places == (own or {b"/wwn": "p4"})


ATA, SCSI, WWN = "ata-QEMU_HARDDISK_QM1", "scsi-SATA_QEMU_HARDDISK_QM1", "wwn-0x5000c500a"


@pytest.mark.parametrize(
    ("root", "other", "same"),
    [
        (SCSI, "scsi-0ATA_QEMU_HARDDISK_QM1", True),  # udev's names of one disk, one of each kind
        (SCSI, "scsi-1ATA_QEMU_HARDDISK_QM1", True),
        ("scsi-35000c500a", WWN, True),
        ("scsi-35000c500b", WWN, False),
        (ATA, WWN, True),
        (ATA, "ata-QEMU_HARDDISK_QM2", False),
        ("nvme-eui.0025385b71b0", "nvme-Samsung_SSD_970_S1", True),
        ("nvme-Samsung_SSD_970_S1", "nvme-Samsung_SSD_970_S2", False),
        ("nvme-Samsung_SSD_970_S1", "nvme-Samsung_SSD_970_S1_1", True),
        ("nvme-QEMU_NVMe_Ctrl_1", "nvme-QEMU_NVMe_Ctrl_2", False),
    ],
)
def test_several_names_of_one_disk_are_one_disk(tmp_path: Path, root: str, other: str, same: bool) -> None:
    fstab = f"/dev/disk/by-id/{root}-part1 / ext4\n/dev/disk/by-id/{other}-part2 /b ext4\n"
    volume = Folder(system(tmp_path / "root", fstab), "p1", uuid=UUID)
    found = guest.found([volume], [volume.info, info("p2")])
    assert found is not None
    assert {point: name for point, (name, _) in joined(found).items() if point} == ({b"/b": "p2"} if same else {})
    assert list(found.elsewhere) == ([] if same else [b"/b"])


@pytest.mark.parametrize(
    ("root", "line", "there"),
    [
        (f"/dev/disk/by-id/{ATA}-part1", f"/dev/disk/by-id/{WWN}-part1 /b ext4", False),  # / is part1 of the other
        (f"/dev/disk/by-id/{ATA}-part1", f"/dev/disk/by-id/{WWN}-part2 /b xfs", False),  # p2 is ext4
        ("/dev/sda1", "/dev/sda2 /b xfs", False),
        ("/dev/sda1", "/dev/sda2 /b ext3", True),
        ("/dev/sda1", "/dev/sda2 /b auto", True),
    ],
)
def test_what_cannot_be_this_disks_partition_is_another_disks(
    tmp_path: Path, root: str, line: str, there: bool
) -> None:
    volume = Folder(system(tmp_path / "root", f"{root} / ext4\n{line}\n"), "p1", uuid=UUID)
    found = guest.found([volume], [volume.info, info("p2")])
    assert found is not None
    assert (b"/b" in {point for point, _ in joined(found).items()}) is there
    assert (list(found.elsewhere) == [b"/b"]) is not there


def test_of_two_systems_the_one_whose_fstab_names_itself_is_the_guest(tmp_path: Path) -> None:
    copy = Folder(system(tmp_path / "copy", f"UUID={UUID} / ext4"), "p1", uuid="99999999")
    own = Folder(system(tmp_path / "own", f"UUID={UUID} / ext4"), "p2", uuid=UUID)
    found = guest.found([copy, own], [copy.info, own.info])
    assert joined(found)[b""] == ("p2", b"")
    assert found is not None
    assert found.notes == ("the guest's tree is that of p2; p1 holds a root, too",)


def test_windows_is_a_guest_and_a_data_disk_is_none(tmp_path: Path) -> None:
    (tmp_path / "c/Windows/System32").mkdir(parents=True)
    (tmp_path / "d/files").mkdir(parents=True)
    data, drive = Folder(tmp_path / "d", "p1"), Folder(tmp_path / "c", "p2", format="ntfs")
    assert joined(guest.found([data, drive], [data.info, drive.info])) == {b"": ("p2", b"")}
    assert guest.found([data], [data.info]) is None


@pytest.mark.parametrize("target", ["static/fstab", "/etc/static/fstab", "../nix/store/fstab"])
def test_an_fstab_that_is_a_link_is_followed_within_the_guest(tmp_path: Path, target: str) -> None:
    root = system(tmp_path / "root", "")
    (root / "etc/fstab").unlink()
    (root / "etc/fstab").symlink_to(target)
    (root / "etc/static").symlink_to("/nix/store")
    (root / "nix/store").mkdir(parents=True)
    (root / "nix/store/fstab").write_text("LABEL=data /data ext4")
    volume = Folder(root, "p1")
    known = [volume.info, info("p2", label="data")]
    assert joined(guest.found([volume], known)) == {b"": ("p1", b""), b"/data": ("p2", b"")}


def test_links_in_a_circle_are_no_fstab(tmp_path: Path) -> None:
    root = system(tmp_path / "root", "")
    (root / "etc/fstab").unlink()
    (root / "etc/fstab").symlink_to("../etc/fstab")
    volume = Folder(root, "p1")
    assert joined(guest.found([volume], [volume.info])) == {b"": ("p1", b"")}


def test_escapes_comments_and_quotes_are_read_as_mount_does(tmp_path: Path) -> None:
    fstab = """\t # UUID=x /none ext4
LABEL="two" \t /a\\040b//c/ ext4
LABEL=gr\\303\\274n /gr\\303\\274n ext4 defaults 0 2 # what follows is no field
LABEL=next /n\u0085ext ext4
LABEL=tab /t\\011ab\\134 ext4
LABEL=gone
"""
    root = Folder(system(tmp_path / "root", fstab), "p1")
    labels = {"p2": "two", "p3": "gr\u00fcn", "p4": "next", "p5": "tab", "p6": "gone"}
    found = guest.found([root], [root.info, *(info(name, label=label) for name, label in labels.items())])
    assert joined(found) == {
        b"": ("p1", b""),
        b"/a b/c": ("p2", b""),
        "/gr\u00fcn".encode(): ("p3", b""),
        "/n\u0085ext".encode(): ("p4", b""),
        b"/t\tab\\": ("p5", b""),
    }


def test_a_bind_leads_to_what_is_mounted_there_wherever_its_line_stands(tmp_path: Path) -> None:
    fstab = f"""/srv/www /var/www none bind
UUID={UUID} /srv ext4
/data/x /home/x none rbind
/dev/sdb1 /data ext4
LABEL=big /big ext4 X-mount.subdir=one/two
"""
    root = Folder(system(tmp_path / "root", fstab), "p1")
    found = guest.found([root], [root.info, info("p2", uuid=UUID), info("p3", label="big")])
    assert found is not None
    assert found.place(b"/var/www/index") == ("p2", b"/www/index")
    assert found.place(b"/big/file") == ("p3", b"/one/two/file")
    with pytest.raises(Elsewhere, match="/data/x"):
        found.place(b"/home/x/file")


def test_names_of_udev_lead_to_volumes_and_arrays(tmp_path: Path) -> None:
    fstab = """/dev/disk/by-id/dm-name-vg--a-root / ext4
/dev/disk/by-id/md-name-any:home /home ext4
/dev/disk/by-partlabel/my\\x20part /mine ext4
/dev/disk/by-path/pci-0000:00:05.0-scsi-0:0:0:0-part3 /three ext4
"""
    root = Folder(system(tmp_path / "root", fstab), "vg-a-root")
    found = guest.found([root], [root.info, info("md127"), info("p2", partlabel="my part"), info("p3")])
    assert {point: volume for point, (volume, _) in joined(found).items()} == {
        b"": "vg-a-root", b"/home": "md127", b"/mine": "p2", b"/three": "p3"
    }  # fmt: skip


def test_a_subvolume_by_its_number_is_the_root_though_it_lies_deep(tmp_path: Path) -> None:
    system(tmp_path / "os/roots/b", f"UUID={UUID} / btrfs subvolid=300 0 0\nUUID={UUID} /top btrfs subvolid=5 0 0")
    system(tmp_path / "os/roots/a", f"UUID={UUID} / btrfs subvolid=299 0 0\nUUID={UUID} /home btrfs subvolid=301 0 0")
    numbers = {299: b"/os/roots/gone", 300: b"/os/roots/b", 301: b"/home", 302: b"/os/roots/a"}
    volume = Folder(tmp_path, "p3", format="btrfs", uuid=UUID, subvolumes=numbers)
    assert joined(guest.found([volume], [volume.info])) == {b"": ("p3", b"/os/roots/b"), b"/top": ("p3", b"")}


@pytest.mark.parametrize("name", [b"h\xf6me", b"\\303"])
def test_a_subvolume_whose_name_is_no_utf_8_is_joined(name: bytes, tmp_path: Path) -> None:
    root = system(tmp_path / "root", "")
    lines = b"UUID=%s / btrfs subvol=root\nUUID=%s /home btrfs subvol=/%s 0 0\nLABEL=%s /far ext4\n"
    (root / "etc/fstab").write_bytes(lines % (UUID.encode(), UUID.encode(), name, name))
    volume = Folder(tmp_path, "p3", format="btrfs", uuid=UUID)
    found = guest.found([volume], [volume.info])
    plain = name.replace(b"\\303", b"\303")
    assert joined(found) == {b"": ("p3", b"/root"), b"/home": ("p3", b"/" + plain)}
    assert found is not None
    assert msgspec.json.encode(found.notes), "a report takes it"


def test_a_table_of_binds_upon_binds_is_followed_in_one_pass(tmp_path: Path) -> None:
    """Each was looked up in a table sorted anew: an fstab of a megabyte took hours, whatever was looked for."""
    lines = [f"UUID={UUID} / ext4 defaults", "/ /b0 none bind"]
    lines += [f"/b{number}/{'x' * 40} /b{number + 1} none bind" for number in range(20_000)]
    root = Folder(system(tmp_path / "root", "\n".join(lines)), "p1", uuid=UUID)
    with with_an_end():
        found = guest.found([root], [root.info])
        assert found is not None
        assert found.place(b"/b1/y") == ("p1", b"/" + b"x" * 40 + b"/y")
    assert len(found.joined) < guest.MOST and max(len(each.inner) for each in found.joined) < 2 * guest.DEEPEST
    assert any("is not looked at" in note for note in found.notes)


def test_the_nearest_mount_point_above_a_path_decides(tmp_path: Path) -> None:
    table = f"UUID={UUID} / ext4\nLABEL=far /srv ext4\nLABEL=near /srv/a ext4\nLABEL=far /srv/a/b ext4\n"
    root = Folder(system(tmp_path / "root", table), "p1", uuid=UUID)
    found = guest.found([root], [root.info, info("p2", label="near")])
    assert found is not None
    assert found.place(b"/") == ("p1", b"/") and found.place(b"/srv") == ("p1", b"/srv")  # the point itself is there
    assert found.place(b"/srv/a") == ("p2", b"/") and found.place(b"/srv/a/b") == ("p2", b"/b")
    for beyond in (b"/srv/x", b"/srv/a/b/c"):
        with pytest.raises(Elsewhere):
            found.place(beyond)
