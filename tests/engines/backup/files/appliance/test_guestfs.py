"""What libguestfs gives of a restore point is what was on the guest's disk; one appliance for all of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.backup.errors import Damaged
from engines.backup.files.appliance.driver import GuestfsDisk, open_libguestfs
from engines.backup.files.model import BrowseError, NoSuchFile, Unsupported, VolumeInfo, join
from engines.backup.files.tree import Tree
from engines.backup.repository.byte_source import PointBytes, open_point
from engines.job.contract import Cancel
from engines.job.errors import Stopped
from tests.engines.backup import lab
from tests.engines.backup.files import guest_disk
from tests.engines.backup.files.guest_disk import ENTRIES, LATE, MIB

pytestmark = pytest.mark.boot
FULL = ("p1", "p2", "p4", "vg0-root")  # xfs, btrfs, ext4, ext4 on LVM: all hold the whole tree
LIVING = FULL[:3]
each = pytest.mark.parametrize("name", FULL)


class Source:
    """A point's bytes, until it is told to be damaged."""

    def __init__(self, point: PointBytes) -> None:
        self._point = point
        self.size = point.size
        self.damaged = False

    def read(self, offset: int, length: int) -> bytes:
        if self.damaged:
            raise Damaged("packs/1.pack at 7", "its content does not fit its id")
        return self._point.read(offset, length)


class Estate(NamedTuple):
    disk: GuestfsDisk
    tree: Tree
    folder: Path
    image: Path
    source: Source
    cancel: Cancel
    before: bytes


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("estate")
    image, holds = guest_disk.build(folder)
    kept = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    repo = lab.init(folder / "repo")
    lab.backup(repo, image)
    repository = lab.opened(repo)
    with open_point(repository, repository.names()[0]) as point:
        before = b"".join(point.ids(0, point.point.blocks))
        source, cancel = Source(point), Cancel()
        disk = open_libguestfs(source, cancel)
        tree = Tree(disk.infos(), disk.open)
        try:
            yield Estate(disk, tree, holds, image, source, cancel, before)
        finally:
            disk.close()
            if kept is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = kept


def paths(source: Path) -> list[Path]:
    """Everything of the tree but the many."""
    return [path for path in guest_disk.every(source) if path.parent.name != "many"]


def inner(source: Path, path: Path) -> bytes:
    return b"/" + os.fsencode(path.relative_to(source))


def info(estate: Estate, name: str) -> VolumeInfo:
    return next(found for found in estate.disk.infos() if found.name == name)


def test_every_file_system_is_found_with_its_place_and_what_is_wrong_with_it(estate: Estate) -> None:
    found = {info.name: (info.format, info.dirty, info.drivers) for info in estate.disk.infos()}
    served, dirty = ("libguestfs",), "journal not replayed"
    assert found == {
        "p1": ("xfs", dirty, served),
        "p2": ("btrfs", dirty, served),
        "p4": ("ext4", dirty, served),
        "p5": ("vfat", "", served),
        "p6": ("ntfs", "", served),
        "p7": ("luks", "", ()),
        "p8": ("swap", "", ()),
        "vg0-root": ("ext4", "", served),
    }
    assert (info(estate, "p1").label, info(estate, "p4").label) == ("bay 7", "cold")
    at = MIB
    for number, (_, size, _) in enumerate(guest_disk.PARTS, 1):
        if number != 3:
            assert (info(estate, f"p{number}").offset, info(estate, f"p{number}").size) == (at, size * MIB)
        at += size * MIB


@each
def test_metadata_and_contents_are_the_sources(estate: Estate, name: str) -> None:
    volume = estate.disk.open(info(estate, name))
    for path in paths(estate.folder):
        wanted, found = path.lstat(), volume.stat(inner(estate.folder, path))
        plain = (wanted.st_mode, wanted.st_uid, wanted.st_gid, wanted.st_mtime_ns)
        assert (found.mode, found.uid, found.gid, found.mtime) == plain, path
        if not found.is_folder:
            assert (found.size, found.links) == (wanted.st_size, wanted.st_nlink), path
        if found.is_link:
            assert found.link == os.fsencode(path.readlink())
        if stat.S_ISBLK(found.mode) or stat.S_ISCHR(found.mode):
            assert found.device == (os.major(wanted.st_rdev), os.minor(wanted.st_rdev))
        if found.is_file and found.size < 1 << 30:
            assert volume.read(inner(estate.folder, path), 0, 1 << 30) == path.read_bytes(), path


@each
def test_attributes_and_acls_are_the_sources(estate: Estate, name: str) -> None:
    volume = estate.disk.open(info(estate, name))
    seen: set[str] = set()
    for path in paths(estate.folder):
        names = os.listxattr(path, follow_symlinks=False)
        wanted = {key: os.getxattr(path, key, follow_symlinks=False) for key in names}
        assert volume.attributes(inner(estate.folder, path)) == wanted, path
        seen |= set(wanted)
    acls = {"system.posix_acl_access", "system.posix_acl_default"}
    assert seen == {"user.note", "trusted.seal", "trusted.link", "security.extra"} | acls


@each
def test_holes_are_holes(estate: Estate, name: str) -> None:
    volume = estate.disk.open(info(estate, name))
    assert list(volume.extents(b"/sparse")) == [(at, at + 65536) for at in (0, 7 * MIB + 4096, 19 * MIB)]
    assert list(volume.extents(b"/all-hole")) == []
    assert list(volume.extents(b"/large")) == [(0, 5 * MIB + 123)]
    assert list(volume.extents(b"/empty")) == []
    forged = b"/sparse\n   9:        9..       9:"
    assert list(volume.extents(forged)) == list(volume.extents(b"/sparse"))
    assert volume.read(b"/all-hole", (3 << 40) - 5, 10) == bytes(5)


@each
def test_a_folder_gives_each_entry_once_whatever_its_name(estate: Estate, name: str) -> None:
    volume = estate.disk.open(info(estate, name))
    for folder in (b"/", b"/names", b"/etc", b"/many"):
        found = list(volume.list(folder))
        wanted = set(os.listdir(os.fsencode(estate.folder) + folder))  # noqa: PTH208  names as bytes
        extra = {b"late", b"sub", b"lost+found"} if folder == b"/" else set()
        names = [node.name for node in found]
        assert len(names) == len(set(names))
        assert set(names) - extra == wanted
        for node in found[:20]:
            assert node == volume.stat(join(folder, node.name))
    assert len(list(volume.list(b"/many"))) == ENTRIES
    same = [volume.stat(path).inode for path in (b"/large", b"/etc/same", b"/sparse", b"/owned")]
    assert same[0] == same[1]
    assert len(set(same)) == 3


@pytest.mark.parametrize("name", LIVING)
def test_files_that_were_fsynced_just_before_the_copy_are_there(estate: Estate, name: str) -> None:
    volume = estate.disk.open(info(estate, name))
    assert volume.state == "journal replayed"
    for path, content in LATE.items():
        assert volume.read(b"/" + path.encode(), 0, 1 << 20) == content


def test_a_clean_journal_is_not_said_to_be_replayed(estate: Estate) -> None:
    assert [estate.disk.open(info(estate, name)).state for name in ("vg0-root", "p5", "p6")] == ["", "", ""]


def test_a_btrfs_subvolume_is_a_folder_with_inodes_of_its_own(estate: Estate) -> None:
    volume = estate.disk.open(info(estate, "p2"))
    assert volume.read(b"/sub/inside", 0, 99) == b"in a subvolume"
    assert volume.stat(b"/sub").inode != volume.stat(b"/").inode


def test_fat_and_ntfs_give_their_files(estate: Estate) -> None:
    assert estate.tree.read(b"/p5/Motd of the day.txt", 5, 7) == b"console"
    volume = estate.disk.open(info(estate, "p6"))
    assert volume.read(b"/large", 0, 1 << 30) == (estate.folder / "large").read_bytes()
    assert list(volume.extents(b"/large")) == [(0, 5 * MIB + 123)]


def test_what_is_not_there_or_not_readable_is_named(estate: Estate) -> None:
    volume = estate.disk.open(info(estate, "p4"))
    for path in (b"/nothing", b"/empty/below", b"/esc\x1b[31m"):
        with pytest.raises(NoSuchFile) as refused:
            volume.stat(path)
        assert "\x1b" not in str(refused.value)
    for path in (b"/pipe", b"/disk", b"/etc", b"/loop"):
        with pytest.raises(BrowseError, match="no regular file"):
            volume.read(path, 0, 1)
    with pytest.raises(BrowseError, match=r"esc\\x1b"):
        volume.read(b"/folder-esc\x1b[31m", 0, 1)
    with pytest.raises(BrowseError):
        list(volume.list(b"/empty"))
    with pytest.raises(Unsupported, match="key"):
        estate.disk.open(info(estate, "p7"))
    with pytest.raises(Unsupported):
        estate.disk.open(info(estate, "p8"))
    with pytest.raises(NoSuchFile):
        estate.disk.open(VolumeInfo(name="p9", format="ext4", offset=0, size=1))


def test_a_tree_comes_out_as_one_tar(estate: Estate) -> None:
    volume = estate.disk.open(info(estate, "p1"))
    stream = io.BytesIO()
    volume.tar_out(b"/etc", stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        found = {member.name: member for member in tar}
        motd = tar.extractfile("./motd")
        assert motd is not None and motd.read() == b"cold console\n"
    assert found["./absolute"].linkname == "/etc/motd"
    assert "SCHILY.xattr.user.note" in found["./motd"].pax_headers
    with pytest.raises(BrowseError):
        volume.tar_out(b"/nothing", io.BytesIO())
    assert volume.stat(b"/etc").is_folder


def test_several_threads_get_what_they_asked_for(estate: Estate) -> None:
    volume = estate.disk.open(info(estate, "p4"))
    content = (estate.folder / "large").read_bytes()
    wrong: list[object] = []

    def work(number: int) -> None:
        for at in range(number * 1000, 5 * MIB, MIB):
            if volume.read(b"/large", at, 70_000) != content[at : at + 70_000]:
                wrong.append(at)
            if volume.read(b"/etc/motd", 0, 99) != b"cold console\n":
                wrong.append("motd")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_of_the_point_has_changed(estate: Estate) -> None:
    """Journals were replayed, on the throwaway layer only."""
    assert any(node.name == b"late" for node in estate.tree.list(b"/p4"))
    repository = lab.opened(str(estate.image.parent / "repo"))
    with open_point(repository, repository.names()[0]) as point:
        assert b"".join(point.ids(0, point.point.blocks)) == estate.before
        assert point.read(MIB, MIB) == estate.image.read_bytes()[MIB : 2 * MIB]


def test_a_damaged_backup_is_the_culprit_by_name(estate: Estate) -> None:
    volume = estate.disk.open(info(estate, "vg0-root"))
    estate.disk.shell(b"echo 3 > /proc/sys/vm/drop_caches")
    estate.source.damaged = True
    with pytest.raises(Damaged, match=r"packs/1\.pack"):
        volume.read(b"/large", 0, 1 << 30)
    estate.source.damaged = False
    assert volume.read(b"/large", 0, 1 << 30) == (estate.folder / "large").read_bytes()


def test_a_stop_ends_the_appliance_and_leaves_nothing(estate: Estate) -> None:
    """The very last: nobody uses the appliance after it."""
    volume, private = estate.disk.open(info(estate, "p4")), estate.disk.folder
    estate.cancel.set()
    with pytest.raises(Stopped):
        volume.stat(b"/etc/motd")
    with pytest.raises(BrowseError):
        volume.stat(b"/etc/motd")
    estate.disk.close()
    assert not private.exists()
