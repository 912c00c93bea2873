"""What is damaged is told, and what is whole beside it is still there: superblocks, boot sectors, folders, circles."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import pytest
from typing_extensions import override

from engines.backup.errors import Damaged
from engines.backup.files.model import NOT_REPLAYED, BrowseError
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.disk_map import survey
from tests.engines.backup.files.images import MIB, Image, blank, ext, mounted, ntfs_mounted, quick, run
from tests.engines.backup.files.volumes.test_fat import exfat


@pytest.mark.parametrize("options", [("-b", "1024"), ("-b", "4096"), ("-b", "1024", "-O", "bigalloc", "-C", "4096")])
def test_an_ext_without_its_first_superblock_is_read_from_a_copy(tmp_path: Path, options: tuple[str, ...]) -> None:
    image = ext(tmp_path / "disk", 160 * MIB, *options)
    with mounted(image) as root:
        for number in range(2000):
            (root / f"file{number}").write_text(str(number))
    assert quick(image).read(b"/file7", 0, 9) == b"7"
    raw = bytearray(image.read_bytes())
    if "bigalloc" not in options:
        block = int(options[1])
        raw[1024 : max(2048, 2 * block)] = bytes(max(2048, 2 * block) - 1024)  # the descriptors behind it, too
        image.write_bytes(raw)
        info = survey(Image(image)).volumes[0]
        assert (info.format, info.drivers) == ("ext4", ("quick",))
        assert "superblock is damaged" in info.dirty
    assert quick(image).read(b"/file1999", 0, 9) == b"1999"


@pytest.mark.parametrize("kind", ["ntfs", "fat32", "exfat"])
def test_a_boot_sector_is_read_from_its_copy(tmp_path: Path, kind: str) -> None:
    image = blank(tmp_path / "disk", 64 * MIB)
    (tmp_path / "file").write_text("whole")
    if kind == "ntfs":
        run("mkfs.ntfs", "-q", "-F", image)
        with ntfs_mounted(image) as root:
            (root / "file").write_text("whole")
    elif kind == "fat32":
        run("mkfs.vfat", "-F", "32", image)
        run("mcopy", "-i", image, tmp_path / "file", "::file")
    else:
        run("mkfs.exfat", image)
    with image.open("r+b") as stream:
        stream.write(b"\xaa" * 512)
    info = survey(Image(image)).volumes[0]
    assert info.format == {"fat32": "vfat"}.get(kind, kind)
    assert "boot sector is damaged" in info.dirty
    volume = quick(image)
    assert [node.name for node in volume.list(b"/")] == ([] if kind == "exfat" else [b"file"])
    assert kind == "exfat" or volume.read(b"/file", 0, 9) == b"whole"


def blocks(image: Path, path: str) -> list[int]:
    said = run("debugfs", "-R", f"blocks {path}", image)
    return [int(word) for word in said.split() if word.isdigit()]


def test_a_folder_damaged_in_one_block_lists_the_others_and_says_so(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 64 * MIB, "-b", "1024", "-O", "^dir_index,^metadata_csum,^has_journal")
    with mounted(image) as root:
        (root / "many").mkdir()
        for number in range(200):
            (root / "many" / f"file{number}").write_text(str(number))
    raw = bytearray(image.read_bytes())
    place = blocks(image, "/many")[2] * 1024
    raw[place : place + 8] = b"\xff" * 8
    image.write_bytes(raw)
    volume = quick(image)
    found: list[bytes] = []
    with pytest.raises(BrowseError, match="damaged at byte 0"):
        for node in volume.list(b"/many"):
            found.append(node.name)
    assert 100 < len(found) < 200
    assert volume.read(b"/many/file199", 0, 9) == b"199"
    with pytest.raises(BrowseError, match="damaged"):
        missing = next(number for number in range(200) if b"file%d" % number not in found)
        volume.stat(b"/many/file%d" % missing)


def test_a_folder_whose_blocks_were_never_written_is_not_shown_as_empty(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 16 * MIB, "-b", "1024", "-O", "^metadata_csum,^has_journal")
    with mounted(image) as root:
        (root / "folder").mkdir()
        (root / "folder/file").write_text("x")
    inode = quick(image).stat(b"/folder").inode
    run("debugfs", "-w", "-R", "ex /folder", image)
    raw = bytearray(image.read_bytes())
    block = blocks(image, "/folder")[0]
    at = raw.index(struct.pack("<HHI", 1, 0, block), 0)  # length 1, the block's number: the extent of the folder
    struct.pack_into("<H", raw, at, 1 + 32768)
    image.write_bytes(raw)
    volume = quick(image)
    assert volume.stat(b"/folder").inode == inode
    with pytest.raises(BrowseError, match="never written"):
        list(volume.list(b"/folder"))


def test_a_folder_that_holds_itself_ends_the_walk_there(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 16 * MIB, "-b", "1024", "-O", "^metadata_csum,^has_journal")
    with mounted(image) as root:
        (root / "one/two").mkdir(parents=True)
        (root / "one/file").write_text("x")
    run("debugfs", "-w", "-R", "link /one /one/two/again", image)
    run("debugfs", "-w", "-R", "link / /one/top", image)
    with open_tree(Image(image)) as tree:
        told: list[bytes] = []
        walked = [path for path, _ in tree.walk(b"/", lambda path, _error: told.append(path))]
    assert set(told) == {b"/one/two/again", b"/one/top"}
    assert b"/one/file" in walked


def flipped(image: Path, place: int, mask: int = 1) -> Path:
    with image.open("r+b") as stream:
        stream.seek(place)
        (byte,) = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte ^ mask]))
    return image


@pytest.mark.parametrize("block", ["1024", "4096"])
def test_a_name_that_fails_its_checksum_is_told_as_the_kernel_does(tmp_path: Path, block: str) -> None:
    image = ext(tmp_path / "disk", 64 * MIB, "-b", block)
    with mounted(image) as root:
        (root / "etc").mkdir()
        for number in range(300):  # more than a block: a hash tree
            (root / f"etc/a-file-of-number-{number}").touch()
        (root / "other").write_text("other")
    assert len(list(quick(image).list(b"/etc"))) == 300
    whole, size = image.read_bytes(), int(block)
    place = blocks(image, "/etc")[2] * size
    name = whole[place : place + size].index(b"a-file-of") + place
    volume = quick(flipped(image, name))
    found: list[bytes] = []
    with pytest.raises(BrowseError, match="checksum"):
        for node in volume.list(b"/etc"):
            found.append(node.name)
    assert len(found) == 300
    (missing,) = {b"a-file-of-number-%d" % number for number in range(300)} - set(found)
    with pytest.raises(BrowseError, match="checksum"):
        volume.stat(b"/etc/" + missing)
    assert volume.read(b"/other", 0, 9) == b"other"


@pytest.mark.parametrize("kind", ["ext4", "vfat", "ntfs", "exfat"])
def test_what_lacks_its_end_says_so_and_gives_the_rest(tmp_path: Path, kind: str) -> None:
    image = blank(tmp_path / "disk", 32 * MIB)
    (tmp_path / "file").write_text("whole")
    run(*{"ext4": ("mke2fs", "-q", "-F"), "ntfs": ("mkfs.ntfs", "-q", "-F", "-f")}.get(kind, (f"mkfs.{kind}",)), image)
    copy = {"ext4": ("debugfs", "-w", "-R", f"write {tmp_path / 'file'} file", image),
            "vfat": ("mcopy", "-i", image, tmp_path / "file", "::file"),
            "ntfs": ("ntfscp", "-q", image, tmp_path / "file", "file")}  # fmt: skip
    if kind == "exfat":
        with exfat(image) as root:
            (root / "file").write_text("whole")
    else:
        run(*copy[kind])
    assert survey(Image(image)).volumes[0].state == ""
    with image.open("r+b") as stream:
        stream.truncate(28 * MIB)
    lacks = survey(Image(image)).volumes[0].cut
    assert lacks.startswith("cut off: its last 4 MiB" if kind != "ntfs" else "cut off: ")
    volume = quick(image)
    assert volume.state.startswith("cut off")
    assert volume.read(b"/file", 0, 9) == b"whole"


def test_what_was_cut_off_while_its_journal_was_open_says_both(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 32 * MIB)
    with image.open("r+b") as stream:
        stream.seek(1024 + 0x60)
        incompatible = int.from_bytes(stream.read(4), "little")
        stream.seek(1024 + 0x60)
        stream.write((incompatible | 0x4).to_bytes(4, "little"))  # needs_recovery
        stream.truncate(28 * MIB)
    info = survey(Image(image)).volumes[0]
    assert info.dirty == NOT_REPLAYED and info.state == f"{info.cut}; {NOT_REPLAYED}"
    assert info.cut.startswith("cut off: ") and info.cut in quick(image).state


@pytest.mark.parametrize(("byte", "checked"), [(0x68, False), (0x78, True)], ids=["uuid", "label"])
def test_a_damaged_superblock_without_a_copy_hides_no_name(tmp_path: Path, byte: int, checked: bool) -> None:
    image = ext(tmp_path / "disk", 4 * MIB, "-b", "1024", "-O", "^has_journal,metadata_csum,^metadata_csum_seed")
    (tmp_path / "file").write_text("whole")
    run("debugfs", "-w", "-R", f"write {tmp_path / 'file'} file", image)
    volume = quick(flipped(image, 1024 + byte))
    assert volume.read(b"/file", 0, 9) == b"whole"
    assert {node.name for node in volume.list(b"/")} == {b"file", b"lost+found"}
    assert ("nothing of it is checked" in volume.state) is not checked


class Holed(Image):
    """An image of which some bytes are in no pack that is whole."""

    def __init__(self, path: Path, lost: range) -> None:
        super().__init__(path)
        self._lost = lost

    @override
    def read(self, offset: int, length: int) -> bytes:
        if offset < self._lost.stop and self._lost.start < offset + length:
            raise Damaged("a block", "it is lost")
        return super().read(offset, length)


def test_a_bare_ntfs_whose_table_is_lost_is_known_by_its_boot_sector(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 64 * MIB)
    run("mkfs.ntfs", "-q", "-F", image)
    with image.open("r+b") as stream:  # where Windows has it: far behind
        stream.seek(11)
        sector, cluster = struct.unpack("<HB", stream.read(3))
        stream.seek(48)
        stream.write(struct.pack("<Q", 32 * MIB // (sector * cluster)))
    with closing(Holed(image, range(32 * MIB, 33 * MIB))) as disk:
        (info,) = survey(disk).volumes
    assert (info.name, info.offset, info.format) == ("disk", 0, "ntfs")
    assert "it is lost" in info.dirty
