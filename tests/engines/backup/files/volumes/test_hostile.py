"""A guest's file system may be made to break its reader: what is asked for comes, or an error that names it."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backup.errors import Damaged
from engines.backup.files.model import BrowseError, NoSuchFile, Volume, parsed, shown
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.ext import superblock
from engines.backup.files.volumes.ext.folder import entries
from engines.backup.files.volumes.ext.inode import Inodes
from engines.backup.files.volumes.known import MOUNTED
from engines.backup.files.volumes.quick import open_quick
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed
from tests.engines.backup.files.images import MIB, Image, blank, ext, mounted, quick, run, table
from tests.engines.backup.files.volumes.test_replay import Bytes
from tests.fuzz.mutation import seed

TB = 10**12
ODD = [b"\\", b"x41", b"\\x", b"\n", b"\x1b[", b"a", b"\0"]  # what escaping may trip over


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A little of everything, in 4 MiB."""
    return made(tmp_path_factory.mktemp("small") / "disk", "^metadata_csum")


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same, all of it under checksums."""
    return made(tmp_path_factory.mktemp("summed") / "disk", "metadata_csum")


def made(path: Path, sums: str) -> bytes:
    image = ext(path, 4 * MIB, "-b", "1024", "-O", f"^has_journal,{sums},inline_data", "-I", "256")
    with mounted(image) as root:
        (root / "a" / "b" / "c").mkdir(parents=True)
        (root / "a" / "holes").write_bytes(b"x" * 5000)
        os.truncate(root / "a" / "holes", 900_000)
        (root / "a" / "tiny").write_bytes(b"inline")
        (root / "link").symlink_to("a/" * 40)
        for number in range(60):
            (root / "a" / "b" / f"file{number}").write_bytes(b"%d" % number * 300)
        os.setxattr(root / "a" / "holes", "user.large", b"v" * 700)
        os.setxattr(root / "a" / "tiny", "user.small", b"v")
    return image.read_bytes()


def visited(volume: Volume, path: bytes = b"/", depth: int = 0) -> Iterator[bytes]:
    """All that can be had, everything that fails passed over."""
    for node in volume.list(path):
        inner = path.rstrip(b"/") + b"/" + node.name
        yield inner
        try:
            if node.is_folder and depth < 4:
                yield from visited(volume, inner, depth + 1)
            elif node.is_file:
                volume.read(inner, 0, 10_000)
                volume.read(inner, max(0, node.size - 100), 1000)
                for _ in zip(volume.extents(inner), range(50), strict=False):
                    continue
            volume.attributes(inner)
        except BrowseError:
            continue


@settings(max_examples=120)
@given(data=st.data())
def test_no_ext_is_too_broken(small: bytes, data: st.DataObject) -> None:
    _broken(small, data)


@settings(max_examples=60)
@given(data=st.data())
def test_no_ext_with_checksums_is_too_broken(summed: bytes, data: st.DataObject) -> None:
    _broken(summed, data)


def _broken(small: bytes, data: st.DataObject) -> None:
    """Bytes of the superblock, descriptors, inodes and folders are changed at random."""
    view = Window(Bytes(small), 0, len(small))
    inodes = Inodes(view, superblock.load(view))
    places = [st.integers(1024, 2047), st.integers(2048, 2111)]
    for number in (2, 12, 13, 14, 15, 16, 17):
        inode = inodes.get(number)
        at = small.index(inode.raw)
        places.append(st.integers(at, at + 255))
        places += [
            st.integers(run.place * 1024, run.place * 1024 + 255)
            for run in (inodes.runs(inode) if inode.flags & 0x80000 else ())
            if run.place
        ]
    changed = data.draw(st.dictionaries(st.one_of(places), st.integers(0, 255), min_size=1, max_size=8))
    disk = Bytes(small, changed)
    try:
        volume = open_quick(disk, survey(disk).volumes[0])
        for _ in zip(visited(volume), range(300), strict=False):
            continue
    except BrowseError:
        return


@settings(max_examples=200)
@given(raw=st.binary(max_size=400), incompat=st.sampled_from([0, 2]))
def test_no_block_of_a_folder_is_too_broken(raw: bytes, incompat: int) -> None:
    try:
        for name, inode in entries(raw, incompat, "it"):
            assert name not in (b".", b"..")
            assert b"/" not in name
            assert inode
    except BrowseError:
        return


def test_inline_files_and_folders_are_read(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "disk").write_bytes(small)
    volume = quick(tmp_path / "disk")
    assert volume.read(b"/a/tiny", 0, 100) == b"inline"
    assert volume.attributes(b"/a/tiny") == {"user.small": b"v"}
    assert volume.attributes(b"/a/holes") == {"user.large": b"v" * 700}
    assert {node.name for node in volume.list(b"/a")} == {b"b", b"holes", b"tiny"}


def test_inline_data_that_is_its_own_attribute_ends(tmp_path: Path, small: bytes) -> None:
    """The kernel makes no such inode: the value of "system.data" is said to lie in an inode that has inline data."""
    (tmp_path / "disk").write_bytes(small)
    number = quick(tmp_path / "disk").stat(b"/a/tiny").inode
    head = re.compile(rb"\x04\x07..(....)........data", re.DOTALL)
    crafted = bytearray(small)
    found = [match.start(1) for match in head.finditer(small)]
    assert found
    for at in found:
        crafted[at : at + 4] = number.to_bytes(4, "little")
    (tmp_path / "disk").write_bytes(crafted)
    volume = quick(tmp_path / "disk")
    with pytest.raises(BrowseError, match="lies in inode"):
        volume.read(b"/a/tiny", 0, 10)


def test_any_number_of_threads_open_a_volume_once_and_read_the_same(small: bytes) -> None:
    with open_tree(Bytes(small)) as tree, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: tree.read(b"/a/b/file%d" % (number % 60), 0, 999), range(400)))
        assert found == [b"%d" % (number % 60) * 300 for number in range(400)]
        assert len(set(threads.map(lambda _: id(tree.volume(b"/a")[0]), range(20)))) == 1


def test_links_in_a_circle_and_out_of_the_guest_stay_inside(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 8 * MIB)
    with mounted(image) as root:
        (root / "one").symlink_to("two")
        (root / "two").symlink_to("one")
        (root / "out").symlink_to("../../../etc/../secret")
        (root / "host").symlink_to("/etc/shadow")
        (root / "etc").mkdir()
        (root / "secret").write_bytes(b"the guest's own")
    with open_tree(Image(image)) as tree:
        with pytest.raises(BrowseError, match="circle"):
            tree.read(b"/one", 0, 10)
        assert tree.read(b"/out", 0, 100) == b"the guest's own"
        with pytest.raises(NoSuchFile):
            tree.read(b"/host", 0, 10)


def test_a_folder_that_holds_its_own_parent_is_entered_once(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 8 * MIB)
    with mounted(image) as root:
        (root / "a" / "b").mkdir(parents=True)
    run("debugfs", "-w", "-R", "ln <2> /a/b/root", image)
    run("debugfs", "-w", "-R", "ln /a /a/b/again", image)
    with open_tree(Image(image)) as tree:
        found = [path for path, _ in tree.walk(b"/")]
    assert b"/a/b/root" in found
    assert len(found) < 20


def test_a_sparse_file_of_ten_terabytes_costs_nothing(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 8 * MIB, "-b", "4096")
    with mounted(image) as root, (root / "huge").open("wb") as stream:
        stream.seek(10 * TB)
        stream.write(b"end")
    volume = quick(image)
    assert volume.stat(b"/huge").size == 10 * TB + 3
    assert volume.read(b"/huge", 10 * TB - 4, 100) == bytes(4) + b"end"
    assert volume.read(b"/huge", 5 * TB, 10) == bytes(10)
    assert [end - start for start, end in volume.extents(b"/huge")] == [(10 * TB + 3) % 4096]


def test_a_superblock_of_impossible_sizes_is_named(small: bytes) -> None:
    for at, value in ((1024 + 0x18, 40), (1024 + 0x58, 7), (1024 + 0x20, 0), (1024 + 0x28, 0)):
        raw = bytearray(small)
        raw[at : at + 4] = struct.pack("<I", value)
        info = survey(Bytes(bytes(raw))).volumes[0]
        assert (info.format, info.drivers) == ("", ())
        assert "superblock" in info.dirty
        with pytest.raises(Failed, match="superblock"):
            open_tree(Bytes(bytes(raw)))


def test_a_damaged_inode_spoils_only_its_own_entry(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "disk").write_bytes(small)
    view = Window(Bytes(small), 0, len(small))
    inodes = Inodes(view, superblock.load(view))
    number = quick(tmp_path / "disk").stat(b"/a/holes").inode
    raw = bytearray(small)
    at = small.index(inodes.get(number).raw)
    raw[at + 40 : at + 44] = b"\xff" * 4
    volume = open_quick(Bytes(bytes(raw)), survey(Bytes(bytes(raw))).volumes[0])
    assert len(list(volume.list(b"/a"))) == 3
    with pytest.raises(BrowseError, match=f"extent tree of inode {number} is damaged"):
        volume.read(b"/a/holes", 0, 10)
    assert volume.read(b"/a/tiny", 0, 10) == b"inline"


class Torn(Bytes):
    """A source whose backup is damaged from one place to another."""

    def __init__(self, raw: bytes, start: int, end: int) -> None:
        super().__init__(raw)
        self.torn = (start, end)

    def read(self, offset: int, length: int) -> bytes:
        if offset < self.torn[1] and offset + length > self.torn[0]:
            raise Damaged("packs/x", "a record does not match its name")
        return super().read(offset, length)


def test_a_damaged_block_of_the_backup_spoils_its_own_partition_only(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "one").write_bytes(small)
    disk = table(tmp_path / "disk", "gpt", [(tmp_path / "one", ""), (tmp_path / "one", "")], 16 * MIB)
    with open_tree(Torn(disk.read_bytes(), MIB, MIB + 4096)) as tree:
        assert list(tree.infos) == ["p2"]
        assert tree.map is not None
        assert "does not match its name" in tree.map.volumes[0].dirty


def test_a_damaged_first_block_of_a_btrfs_or_before_an_array_hides_nothing_else(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "ext").write_bytes(small)
    run("mkfs.btrfs", "-q", blank(tmp_path / "btrfs", 120 * MIB))
    disk = table(tmp_path / "disk", "gpt", [(tmp_path / "btrfs", ""), (tmp_path / "ext", "")], 132 * MIB)
    seen = survey(Torn(disk.read_bytes(), MIB, MIB + 65536))
    assert [info.format for info in seen.volumes] == ["btrfs", "ext4"]
    parts: list[tuple[Path | None, str]] = [(tmp_path / "ext", ""), (tmp_path / "ext", "")]
    raw = bytearray(table(tmp_path / "md", "dos", parts, 16 * MIB).read_bytes())
    last = (len(raw) // 512 - 16) & ~7
    raw[last * 512 : last * 512 + 8] = struct.pack("<II", 0xA92B4EFC, 1)
    assert [info.format for info in survey(Torn(bytes(raw), MIB, MIB + 65536)).volumes] == ["", "ext4"]


def test_thousands_of_entries_begin_to_come_at_once(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 96 * MIB, "-N", "33000", "-I", "256", "-b", "4096", "-O", "^has_journal")
    with mounted(image) as root:
        (root / "many").mkdir()
        folder = os.open(root / "many", os.O_RDONLY)
        for number in range(30_000):
            os.mknod(f"file-{number:06}", 0o100644, dir_fd=folder)
        os.close(folder)
    disk = Image(image)
    volume = open_quick(disk, survey(disk).volumes[0])
    disk.reads = 0
    found = volume.list(b"/many")
    next(found)
    assert disk.reads < 8
    assert sum(1 for _ in found) == 29_999
    assert disk.reads < 33_000 * 256 // 65536 * 3


@given(
    raw=st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(ODD)).map(b"".join)).map(
        lambda raw: b"/" + raw.replace(b"/", b"")
    )
)
def test_a_name_survives_the_screen_and_back(raw: bytes) -> None:
    text = shown(raw)
    assert text.isprintable()
    assert raw in (b"/", b"/.", b"/..") or parsed(text) == raw


def heads() -> dict[str, bytes]:
    """By kind, what such a volume begins with, as far as its signature."""
    made = {name: seed(name)[: 2 * 65536] for name in ("exfat", "ext", "fat", "gpt", "mbr", "ntfs")}
    places = {
        "xfs": (0, b"XFSB"),
        "btrfs": (0x10040, b"_BHRfS_M"),
        "lvm": (512, b"LABELONE" + bytes(16) + b"LVM2 001"),
        "luks": (0, b"LUKS\xba\xbe\0\2"),
        "swap": (4086, b"SWAPSPACE2"),
        "iso": (32769, b"CD001"),
        **{f"md at {at}": (at, struct.pack("<II", 0xA92B4EFC, 1)) for at in (0, 4096)},
        **{f"{one.format} at {one.at}": (one.at, one.raw) for one in MOUNTED if one.at < 65536 * 2},
    }
    return made | {name: (bytes(at) + raw).ljust(2 * 65536, b"\0") for name, (at, raw) in places.items()}


@pytest.mark.parametrize("name", heads())
def test_a_disk_that_is_cut_off_anywhere_in_its_head_is_told_in_words(name: str) -> None:
    raw = heads()[name]
    first = next((at for at, byte in enumerate(raw) if byte), 0)
    cuts = {*range(1, 600, 13), *(first + more for more in range(1, 500, 13)), *(at + 1 for at in range(0, 8192, 512))}
    for size in sorted(cuts):
        try:
            survey(Bytes(raw[:size]))
        except BrowseError as error:
            assert error.why, size
