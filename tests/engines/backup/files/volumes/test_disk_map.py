"""What is on a disk is found as sfdisk and the mkfs tools put it there; a hostile table ends in words."""

from __future__ import annotations

import struct
import subprocess
import uuid
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backup.files.model import BrowseError, VolumeInfo
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.disk_map import DiskMap, survey
from tests.engines.backup.files.images import MIB, Image, blank, ext, mounted, run, table

SECTOR = 512


class Sparse:
    """A disk of zeros but for a few pieces."""

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        self.size = size
        self.pieces = pieces

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        assert length <= 4 * MIB, "no table is that large"
        found = bytearray(length)
        for start, piece in self.pieces.items():
            first, end = max(start, offset), min(start + len(piece), offset + length)
            if first < end:
                found[first - offset : end - offset] = piece[first - start : end - start]
        return bytes(found)


def looked(image: Path) -> DiskMap:
    disk = Image(image)
    try:
        return survey(disk)
    finally:
        disk.close()


def found(image: Path) -> VolumeInfo:
    return looked(image).volumes[0]


def blkid(image: Path, tag: str) -> str:
    return subprocess.run(
        ["blkid", "-p", "-o", "value", "-s", tag, image], capture_output=True, text=True, check=False
    ).stdout.strip()


MADE = {
    "ext2": (8, ["mke2fs", "-q", "-F", "-t", "ext2", "-L", "some label"]),
    "ext3": (8, ["mke2fs", "-q", "-F", "-t", "ext3", "-L", "some label"]),
    "ext4": (8, ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "some label"]),
    "xfs": (320, ["mkfs.xfs", "-q", "-L", "some label"]),
    "btrfs": (120, ["mkfs.btrfs", "-q", "-L", "some label"]),
    "ntfs": (8, ["mkntfs", "-q", "-F", "-f", "-L", "some label"]),
    "vfat 12": (2, ["mkfs.vfat", "-F", "12", "-n", "SOME LABEL"]),
    "vfat 16": (16, ["mkfs.vfat", "-F", "16", "-n", "SOME LABEL"]),
    "vfat 32": (64, ["mkfs.vfat", "-F", "32", "-n", "SOME LABEL"]),
    "swap": (8, ["mkswap", "-q", "-L", "some label"]),
}


@pytest.mark.parametrize("name", MADE)
def test_a_file_system_is_named_as_blkid_names_it(tmp_path: Path, name: str) -> None:
    size, argv = MADE[name]
    image = blank(tmp_path / "disk", size * MIB)
    run(*argv, image)
    info = found(image)
    assert (info.name, info.offset, info.size) == ("disk", 0, size * MIB)
    assert info.format == blkid(image, "TYPE") == name.split()[0]
    assert (info.label, info.uuid) == (blkid(image, "LABEL"), blkid(image, "UUID"))
    assert not info.dirty or name == "xfs"


def test_what_holds_others_is_named(tmp_path: Path) -> None:
    luks = blank(tmp_path / "luks", 32 * MIB)
    run("cryptsetup", "luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", luks, given="word")
    assert found(luks).format == "luks"
    assert found(luks).uuid == blkid(luks, "UUID")
    with pytest.raises(BrowseError, match="its own key"):
        open_tree(Image(luks))
    physical = bytearray(8 * MIB)
    physical[512:520], physical[536:544] = b"LABELONE", b"LVM2 001"
    physical[544:576] = b"abcdefghijklmnopqrstuvwxyz012345"
    (tmp_path / "pv").write_bytes(physical)
    assert found(tmp_path / "pv").uuid == "abcdef-ghij-klmn-opqr-stuv-wxyz-012345"
    assert found(tmp_path / "pv").drivers == ("libguestfs",)
    for place, version in ((0, 1), (4096, 1), (8 * MIB - 8192, 1)):
        member = bytearray(8 * MIB)
        member[place : place + 8] = struct.pack("<II", 0xA92B4EFC, version)
        (tmp_path / "md").write_bytes(member)
        assert found(tmp_path / "md").format == "md"
    assert found(blank(tmp_path / "zeros", 8 * MIB)).format == "empty"
    (tmp_path / "noise").write_bytes(b"noise" * 100_000)
    assert found(tmp_path / "noise").format == ""


@pytest.mark.parametrize(("label", "names"), [("gpt", ["p1", "p2", "p3"]), ("dos", ["p1", "p2", "p5", "p6"])])
def test_partitions_are_where_sfdisk_put_them(tmp_path: Path, label: str, names: list[str]) -> None:
    one, two = ext(tmp_path / "one", 8 * MIB, "-L", "one"), blank(tmp_path / "two", 8 * MIB)
    run("mkntfs", "-q", "-F", "-f", "-L", "two", two)
    extended: list[tuple[Path | None, str]] = [(None, "type=5"), (one, "type=83")] if label == "dos" else []
    disk = table(tmp_path / "disk", label, [(one, ""), (two, ""), *extended, (two, "")], 64 * MIB)
    seen = looked(disk)
    assert [info.name for info in seen.volumes] == names
    assert seen.table == {"gpt": "gpt", "dos": "mbr"}[label]
    assert [info.format for info in seen.volumes] == ["ext4", "ntfs", *(["ext4"] if extended else []), "ntfs"]
    assert not seen.trouble


def test_a_table_of_4_kib_sectors_is_read(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk", 64 * MIB)
    loop = run("losetup", "--find", "--show", "--sector-size", "4096", disk).strip()
    try:
        run("sfdisk", "-q", loop, given="label: gpt\nsize=8MiB\nsize=8MiB\n")
    finally:
        run("losetup", "-d", loop)
    assert [(info.name, info.offset, info.size) for info in looked(disk).volumes] == [
        ("p1", MIB, 8 * MIB),
        ("p2", 9 * MIB, 8 * MIB),
    ]


def test_the_second_table_serves_where_the_first_is_lost(tmp_path: Path) -> None:
    disk = table(tmp_path / "disk", "gpt", [(None, "size=8MiB"), (None, "size=8MiB")], 64 * MIB)
    with disk.open("r+b") as stream:
        stream.seek(512)
        stream.write(bytes(16 * 1024))
    assert [info.name for info in looked(disk).volumes] == ["p1", "p2"]


def test_a_file_system_in_use_is_dirty(tmp_path: Path) -> None:
    image = ext(tmp_path / "disk", 16 * MIB)
    with mounted(image) as folder:
        (folder / "new").write_bytes(b"x")
        run("sync", "-f", folder)
        assert found(image).dirty == "journal not replayed"
    assert found(image).dirty == ""


def test_a_fat_marked_as_in_use_is_dirty(tmp_path: Path) -> None:
    marks = {"16": [(0x25, 1), (4 * 512 + 3, 0)], "32": [(0x41, 1), (32 * 512 + 7, 0)]}
    for width, places in marks.items():
        fat = blank(tmp_path / width, 64 * MIB)
        run("mkfs.vfat", "-F", width, "-R", str(places[1][0] // 512), fat)
        assert found(fat).dirty == ""
        for at, value in places:
            raw = bytearray(fat.read_bytes())
            raw[at] = value
            (tmp_path / "marked").write_bytes(raw)
            assert found(tmp_path / "marked").dirty == "not unmounted cleanly"


def test_an_ntfs_with_a_log_or_a_mark_is_dirty(tmp_path: Path) -> None:
    windows = blank(tmp_path / "ntfs", 16 * MIB)
    run("mkntfs", "-q", "-F", "-f", windows)
    clean = windows.read_bytes()
    record = int.from_bytes(clean[48:56], "little") * clean[13] * 512
    marked, logged = bytearray(clean), bytearray(clean)
    marked[clean.index(struct.pack("<II", 0x70, 0x28), record + 3 * 1024) + 0x18 + 10] |= 1
    log = clean.index(b"\xff" * 8192)
    logged[log : log + 80] = b"RSTR".ljust(24, b"\0") + struct.pack("<H", 48) + bytes(34) + bytes(20)
    for raw, words in ((marked, "not unmounted cleanly"), (logged, "journal not replayed")):
        windows.write_bytes(raw)
        assert found(windows).dirty == words


# ── hostile tables ──────────────────────────────────────────────────────────────────────────────────


def entry(kind: int, start: int, count: int, flag: int = 0) -> bytes:
    return struct.pack("<B3xB3xII", flag, kind, start, count)


def record(*entries: bytes) -> bytes:
    return (bytes(446) + b"".join(entries)).ljust(510, b"\0") + b"\x55\xaa"


def test_logical_partitions_in_a_circle_end() -> None:
    pieces = {
        0: record(entry(0x83, 100, 10), entry(5, 200, 1000)),
        200 * SECTOR: record(entry(0x83, 10, 10), entry(5, 100, 10)),
        300 * SECTOR: record(entry(0x83, 10, 10), entry(5, 0, 10), b""),
    }
    pieces[300 * SECTOR] = record(entry(0x83, 10, 10), entry(5, 100, 10))
    seen = survey(Sparse(8 * MIB, pieces))
    assert [info.name for info in seen.volumes] == ["p1", "p5", "p6"]
    assert seen.trouble == ("the chain of logical partitions goes round in a circle",)


def test_partitions_beyond_the_disk_are_cut_and_told() -> None:
    pieces = {0: record(entry(0x83, 100, 10), entry(0x83, 16_000, 90_000), entry(0x83, 99_999, 1))}
    seen = survey(Sparse(8 * MIB, pieces))
    assert [(info.name, info.size) for info in seen.volumes] == [("p1", 5120), ("p2", 8 * MIB - 16_000 * SECTOR)]
    assert "partition 2 reaches" in seen.trouble[0]
    assert "beyond the end" in seen.trouble[1]


def test_a_table_of_nothing_usable_is_an_error() -> None:
    head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 65536, 92, 0, 0, 1, 9, 3, 8, bytes(16), 2, 4, 128, 0)
    pieces = {0: record(entry(0xEE, 1, 99)), 512: head, 1024: uuid.uuid4().bytes * 2 + struct.pack("<QQ", 2**60, 2**61)}
    with pytest.raises(BrowseError, match="checksums do not hold; partition 1 begins at byte"):
        survey(Sparse(8 * MIB, pieces))


@settings(max_examples=120)
@given(data=st.data())
def test_no_table_is_too_broken(data: st.DataObject) -> None:
    numbers = st.one_of(st.integers(0, 300), st.sampled_from([2**32 - 1, 2**31, 4096, 1 << 20]))
    kinds = st.sampled_from([0, 5, 0x0F, 0x83, 0xEE, 7])
    flags = st.sampled_from([0, 0, 0x80, 1])
    made = st.builds(
        lambda *of: record(*(entry(*each) for each in of)), *[st.tuples(kinds, numbers, numbers, flags)] * 4
    )
    pieces = {place * SECTOR: data.draw(made) for place in data.draw(st.lists(st.integers(0, 9), max_size=5))}
    pieces[0] = data.draw(made)
    if data.draw(st.booleans()):
        pieces[SECTOR] = gpt_head(data)
    try:
        seen = survey(Sparse(2 * MIB, pieces))
    except BrowseError:
        return
    for info in seen.volumes:
        assert 0 <= info.offset < 2 * MIB
        assert info.offset + info.size <= 2 * MIB


def gpt_head(data: st.DataObject) -> bytes:
    large = st.one_of(st.integers(0, 10), st.sampled_from([2**63, 2**64 - 1, 2**32]))
    small = st.one_of(st.integers(0, 300), st.sampled_from([128, 4096, 2**32 - 1]))
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        *(b"EFI PART", 65536, data.draw(st.sampled_from([92, 0, 512, 2**31])), 0, 0, 1),
        *(data.draw(large), 3, 8, bytes(16), data.draw(large), data.draw(small), data.draw(small), data.draw(small)),
    )
    return head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]


@settings(max_examples=200)
@given(
    at=st.sampled_from([0, 1024, 32768, 65536, 512, 4096]),
    magic=st.sampled_from(
        [b"XFSB", b"\xebR\x90NTFS    ", b"\xebX\x90EXFAT   ", b"LUKS\xba\xbe", b"", b"\xeb<\x90mkfs"]
    ),
    raw=st.binary(min_size=600, max_size=600),
    tail=st.sampled_from([b"\x55\xaa", b"\0\0"]),
)
def test_no_signature_is_too_broken(at: int, magic: bytes, raw: bytes, tail: bytes) -> None:
    first = (magic + raw)[:510] + tail
    noise = bytearray(raw.ljust(1024, b"\xff"))
    noise[56:58] = b"\x53\xef"
    seen = survey(Sparse(2 * MIB, {0: first, 1024: bytes(noise), max(at, 2048): raw}))
    assert len(seen.volumes) <= 4
