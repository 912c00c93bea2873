"""Tables that one meets once a year: labels of other systems, what is left or lost; and the names of what is closed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from engines.backup.files.model import BrowseError, VolumeInfo
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.disk_map import survey
from tests.engines.backup.files.images import MIB, Image, blank, ext, run

SIZE = 64 * MIB


def write(image: Path, *pieces: tuple[int, bytes]) -> Path:
    with image.open("r+b") as stream:
        for at, raw in pieces:
            stream.seek(at if at >= 0 else image.stat().st_size + at)
            stream.write(raw)
    return image


def entry(kind: int, start: int, count: int) -> bytes:
    return struct.pack("<B3xB3xII", 0, kind, start, count)


def record(*entries: bytes) -> bytes:
    return (bytes(446) + b"".join(entries)).ljust(510, b"\0") + b"\x55\xaa"


def rows(image: Path) -> dict[str, tuple[str, str]]:
    return {info.name: (info.format, info.label) for info in survey(Image(image)).volumes}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return ext(tmp_path_factory.mktemp("one") / "one", 2 * MIB, "-L", "one", kind="ext2").read_bytes()


ONE = ("ext2", "one")


def test_two_extended_partitions_are_numbered_on(tmp_path: Path, one: bytes) -> None:
    disk = write(
        blank(tmp_path / "disk", SIZE),
        (0, record(entry(0x83, 2048, 4096), entry(5, 20480, 20000), entry(0x0F, 61440, 20000))),
        (20480 * 512, record(entry(0x83, 2048, 4096))),
        (61440 * 512, record(entry(0x83, 2048, 4096))),
        *((at * 512, one) for at in (2048, 22528, 63488)),
    )
    assert rows(disk) == {"p1": ONE, "p5": ONE, "p6": ONE}


def test_logical_partitions_are_counted_in_sectors_of_4_kib(tmp_path: Path, one: bytes) -> None:
    disk = write(
        blank(tmp_path / "disk", SIZE),
        (0, record(entry(0x83, 256, 512), entry(5, 4096, 8192))),
        (4096 * 4096, record(entry(0x83, 256, 512))),
        (256 * 4096, one),
        (4352 * 4096, one),
    )
    assert rows(disk) == {"p1": ONE, "p5": ONE}


@pytest.mark.parametrize("label", ["sun", "bsd", "mac", "dvh"])
def test_the_labels_of_other_systems_are_read(tmp_path: Path, one: bytes, label: str) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    kind = {"mac": ["data"], "dvh": ["primary"]}.get(label, [])
    run("parted", "-s", disk, "mklabel", label)
    run("parted", "-s", "--", disk, "mkpart", *kind, "ext2", "17MiB", "33MiB")
    places = [info for info in survey(Image(disk)).volumes if info.size > 8 * MIB]
    assert len(places) == 1
    assert rows(write(disk, (places[0].offset, one))) == {places[0].name: ONE}


def test_a_table_left_under_a_file_system_does_not_hide_it(tmp_path: Path, one: bytes) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("sfdisk", "-q", disk, given="label: dos\nsize=8M\nsize=8M\n")
    write(disk, (1024, one[1024:]))
    seen = survey(Image(disk))
    assert [(info.name, info.format) for info in seen.volumes] == [("disk", "ext2")]
    assert "a partition table lies on it, too" in seen.trouble[0]


def test_a_file_system_left_under_a_table_is_told(tmp_path: Path, one: bytes) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("sfdisk", "-q", disk, given="label: dos\nstart=65536, size=8M\n")
    write(disk, (1024, one[1024:]), (65536 * 512, one))
    seen = survey(Image(disk))
    assert [(info.name, info.format) for info in seen.volumes] == [("p1", "ext2")]
    assert "signature of ext2, too" in seen.trouble[0]


def test_a_grown_disk_is_read_by_the_second_table_where_it_was(tmp_path: Path, one: bytes) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("sfdisk", "-q", disk, given="label: gpt\nsize=8M\n")
    with disk.open("r+b") as stream:
        stream.truncate(SIZE + 8 * MIB)
    write(disk, (512, bytes(16384)), (2048 * 512, one))
    assert rows(disk) == {"p1": ONE}


def test_a_gpt_that_is_lost_is_told_as_such(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("sfdisk", "-q", disk, given="label: gpt\nsize=8M\n")
    write(disk, (512, bytes(512)), (-512, bytes(512)))
    with pytest.raises(BrowseError, match="neither of its two copies"):
        survey(Image(disk))


CLOSED = {
    "ldm": [(6 * 512, b"PRIVHEAD")],
    "spaces": [(4096, b"SPACEDB ")],
    "corestorage": [(8, b"\x01\0\x10\0"), (88, b"CS\x01\0\0\0")],
    "drbd": [(-4096, bytes(60) + struct.pack(">I", 0x8374026D)), (0, b"noise" * 1000)],
    "lvm1": [(0, b"HM\1\0" + b"x" * 100)],
    "luks": [(0, b"LUKS\xba\xbe\0\1"), (168, b"an id")],
    "bitlocker": [(0, b"\xeb\x58\x90MSWIN4.1"), (424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"))],
    "apfs": [(32, b"NXSB")],
    "vmfs": [(2 * MIB, b"\x5e\xf1\xab\x2f"), (0, b"x")],
    "vdo": [(0, b"dmvdo001")],
    "bcache": [(4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"))],
    "zfs": [(SIZE - 262144 + 131072 + 4096, struct.pack(">Q", 0x00BAB10C))],
    "ddf": [(-512, b"\xde\x11\xde\x11"), (0, b"x")],
    "asm": [(32, b"ORCLDISK")],
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    disk = write(blank(tmp_path / "disk", SIZE), *CLOSED[name])
    with pytest.raises(BrowseError) as told:
        open_tree(Image(disk))
    assert f"disk {name}" in str(told.value)
    assert f"{name} is " in str(told.value)


def test_what_lies_on_drbd_is_read(tmp_path: Path) -> None:
    disk = write(ext(tmp_path / "disk", 8 * MIB), (-4096, bytes(60) + struct.pack(">I", 0x8374026C)))
    assert rows(disk) == {"disk": ("ext4", "")}


def luks(image: Path, kind: str) -> VolumeInfo:
    words = ("--pbkdf", "pbkdf2") if kind == "luks2" else ()
    cost = (*words, "--pbkdf-force-iterations", "1000")
    run("cryptsetup", "luksFormat", "--type", kind, "-q", *cost, blank(image, 24 * MIB), given="word")
    return survey(Image(image)).volumes[0]


def test_luks_is_named_with_its_uuid_by_its_second_header_too(tmp_path: Path) -> None:
    assert luks(tmp_path / "old", "luks1").format == "luks"
    whole = luks(tmp_path / "new", "luks2")
    hurt = survey(Image(write(tmp_path / "new", (0, bytes(4096))))).volumes[0]
    assert (hurt.format, hurt.uuid) == ("luks", whole.uuid)
    assert "first header is damaged" in hurt.dirty


@pytest.mark.parametrize("mark", [b"S1SUSPEND\0", b"LINHIB0001"])
def test_swap_with_a_guests_memory_is_swap(tmp_path: Path, mark: bytes) -> None:
    disk = blank(tmp_path / "disk", 4 * MIB)
    run("mkswap", "-q", "-L", "some", disk)
    assert rows(write(disk, (4086, mark))) == {"disk": ("swap", "some")}


@pytest.mark.parametrize("options", [("-A",), ("-S", "1024")])
def test_a_fat_that_does_not_say_so_is_known_by_its_geometry(tmp_path: Path, options: tuple[str, ...]) -> None:
    disk = blank(tmp_path / "disk", 16 * MIB)
    run("mkfs.fat", "-F", "16", *options, disk)
    write(disk, (54, bytes(8)), (0, b"\xe9"), (510, b"\0\0"))
    (tmp_path / "file").write_text("whole")
    run("mcopy", "-i", disk, tmp_path / "file", "::$file")
    with open_tree(Image(disk), "quick") as tree:
        assert tree.read(b"/$file", 0, 9) == b"whole"
    assert rows(write(disk, (512, b"\xaa" * 65536))) == {"disk": ("", "")}


@pytest.mark.parametrize(
    ("label", "kind", "name"),
    [
        ("gpt", "AF9B60A0-1431-4F62-BC68-3311714A69AD", "ldm"),
        ("gpt", "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D", "spaces"),
        ("dos", "42", "ldm"),
    ],
)
def test_what_only_the_kind_of_its_partition_tells_is_named(
    tmp_path: Path, one: bytes, label: str, kind: str, name: str
) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("sfdisk", "-q", disk, given=f"label: {label}\nstart=2048, size=16M, type={kind}\nsize=16M, type={kind}\n")
    offset = survey(Image(disk)).volumes[1].offset
    write(disk, (2048 * 512 + 100_000, b"of its own"), (offset, one))
    assert rows(disk) == {"p1": (name, ""), "p2": ONE}
    with open_tree(Image(disk)) as tree:
        assert any(note.startswith("p1: a ") and "Windows" in note for note in tree.notes)


def member(image: Path, version: str) -> Path:
    """What mdadm writes on a member of a striped array."""
    size = image.stat().st_size
    if version == "0.90":
        return write(image, (size // 65536 * 65536 - 65536, struct.pack("<8I", 0xA92B4EFC, 0, 90, 0, 0, 1, 0, 0)))
    place = {"1.1": 0, "1.2": 4096}.get(version, (size // 512 - 16 & ~7) * 512)
    raw = bytearray(256)
    struct.pack_into("<II", raw, 0, 0xA92B4EFC, 1)
    raw[16:48] = b"u" * 16 + b"host:data".ljust(16, b"\0")
    struct.pack_into("<Q", raw, 144, place // 512)
    return write(image, (place, bytes(raw)))


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
def test_an_array_on_the_last_partition_is_not_taken_for_one_of_the_disk(
    tmp_path: Path, one: bytes, version: str
) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("sfdisk", "-q", disk, given="label: dos\nstart=2048, size=4096\nstart=32768\n")
    part = member(blank(tmp_path / "part", SIZE - 32768 * 512), version)
    write(disk, (2048 * 512, one), (32768 * 512, part.read_bytes()))
    seen = survey(Image(disk))
    assert [(info.name, info.format) for info in seen.volumes] == [("p1", "ext2"), ("p2", "md")]
    assert seen.trouble == ()


@pytest.mark.parametrize("version", ["0.90", "1.0"])
def test_a_member_that_begins_like_a_file_system_is_a_member(tmp_path: Path, version: str) -> None:
    """Of a striped array the other stripes are elsewhere: its first block shows a file system that is not there."""
    disk = member(ext(tmp_path / "disk", 8 * MIB), version)
    assert [(info.name, info.format) for info in survey(Image(disk)).volumes] == [("disk", "md")]


def test_an_f2fs_is_known_by_its_second_superblock(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk", SIZE)
    run("mke2fs", "-q", "-F", "-t", "ext4", disk)  # its copies are left, farther back
    run("mkfs.f2fs", "-q", "-f", "-t", "0", "-l", "cold", disk)
    whole = survey(Image(disk)).volumes[0]
    hurt = survey(Image(write(disk, (1024, bytes(512))))).volumes[0]
    assert (hurt.format, hurt.label, hurt.uuid) == ("f2fs", "cold", whole.uuid)
    assert "a copy serves" in hurt.dirty
