"""FAT and exFAT show every name and date that a guest wrote, and nothing that is no file of its."""

from __future__ import annotations

import calendar
import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.backup.files.model import BrowseError, Volume
from engines.backup.files.volumes.disk_map import survey
from tests.engines.backup.files.images import MIB, Image, blank, quick, run

LONG = "a long name that goes on " * 10  # 250 characters
SIZES = {"12": 4, "16": 16, "32": 64}


@contextmanager
def exfat(image: Path) -> Iterator[Path]:
    folder = image.with_name(image.name + ".mnt")
    folder.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    try:
        run("mount.exfat-fuse", device, folder)
        try:
            yield folder
        finally:
            run("umount", folder)
    finally:
        run("losetup", "-d", device)


def names(volume: Volume, path: bytes = b"/") -> list[str]:
    return sorted(node.name.decode() for node in volume.list(path))


@pytest.mark.parametrize("width", SIZES)
def test_names_of_255_characters_and_with_a_dollar_are_whole(tmp_path: Path, width: str) -> None:
    image = blank(tmp_path / "disk", SIZES[width] * MIB)
    run("mkfs.vfat", "-F", width, "-n", "STICK", image)
    wanted = ["$RECYCLE.BIN", "$mft", "$", LONG + "x", LONG + "y", "lower.txt", "Grün.txt", "Ω и 字"]
    for number, name in enumerate(wanted):
        (tmp_path / "content").write_text(str(number))
        run("mcopy", "-i", image, tmp_path / "content", f"::{name}")
    run("mmd", "-i", image, "::Sub")
    run("mcopy", "-i", image, tmp_path / "content", f"::Sub/{LONG}z")
    volume = quick(image)
    assert names(volume) == sorted([*wanted, "Sub"])
    assert names(volume, b"/Sub") == [LONG + "z"]
    for number, name in enumerate(wanted):
        assert volume.read(b"/" + name.encode(), 0, 100) == str(number).encode()
    assert survey(Image(image)).volumes[0].label == "STICK"


def test_a_label_in_the_root_folder_counts_and_is_no_file(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 16 * MIB)
    run("mkfs.vfat", "-F", "16", "-n", "OLD", image)
    run("mlabel", "-i", image, "::NEW NAME")
    raw = bytearray(image.read_bytes())
    raw[43:54] = b"BOOT SECTOR"
    image.write_bytes(raw)
    assert survey(Image(image)).volumes[0].label.upper() == "NEW NAME"
    assert names(quick(image)) == []


def test_a_date_after_2037_is_the_date(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 16 * MIB)
    run("mkfs.vfat", "-F", "16", image)
    (tmp_path / "late").write_text("late")
    os.utime(tmp_path / "late", (0, calendar.timegm((2035, 5, 6, 7, 8, 10))))
    run("mcopy", "-m", "-i", image, tmp_path / "late", "::LATE")
    raw = bytearray(image.read_bytes())
    at = raw.index(b"LATE       ") + 24
    date = struct.unpack_from("<H", raw, at)[0]
    struct.pack_into("<H", raw, at, date & 0x1FF | (2099 - 1980) << 9)
    image.write_bytes(raw)
    found = quick(image).stat(b"/LATE").mtime
    assert calendar.timegm((2099, 5, 6, 0, 0, 0)) - 86400 < found // 10**9 < calendar.timegm((2099, 5, 8, 0, 0, 0))


def test_exfat_is_what_was_written_and_its_tables_are_no_files(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 64 * MIB)
    run("mkfs.exfat", "-L", "cold", image)
    content = random.Random(3).randbytes(3 * MIB + 17)
    with exfat(image) as folder:
        (folder / "$UPCASE_TABLE").write_text("a file of that name")
        (folder / "Sub").mkdir()
        for number in range(300):
            (folder / "Sub" / f"{number} {LONG[:200]}").write_text(str(number))
        (folder / "Sub" / (LONG + "12345")).write_bytes(content)
        with (folder / "grown").open("wb") as stream:
            stream.truncate(2 * MIB)
            stream.write(b"begin")
        os.utime(folder / "$UPCASE_TABLE", (0, 4_000_000_000))
    volume = quick(image)
    assert survey(Image(image)).volumes[0].label == "cold"
    assert names(volume) == ["$UPCASE_TABLE", "Sub", "grown"]
    assert len(names(volume, b"/Sub")) == 301
    assert volume.read(b"/Sub/" + LONG.encode() + b"12345", 0, 9 * MIB) == content
    assert volume.read(b"/sub/" + LONG.upper().encode() + b"12345", MIB, 50) == content[MIB : MIB + 50]
    assert volume.read(b"/grown", 0, 3 * MIB) == b"begin".ljust(2 * MIB, b"\0")
    assert volume.stat(b"/$UPCASE_TABLE").mtime // 10**9 == 4_000_000_000


def test_a_broken_chain_costs_what_follows_it_only(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 16 * MIB)
    run("mkfs.vfat", "-F", "16", "-s", "4", image)
    content = random.Random(4).randbytes(100_000)
    (tmp_path / "content").write_bytes(content)
    run("mcopy", "-i", image, tmp_path / "content", "::ONE")
    run("mcopy", "-i", image, tmp_path / "content", "::TWO")
    volume = quick(image)
    first = volume.stat(b"/ONE").inode
    raw = bytearray(image.read_bytes())
    table = volume._geometry.table  # type: ignore[attr-defined]
    struct.pack_into("<H", raw, table + 2 * (first + 3), 1)
    image.write_bytes(raw)
    volume = quick(image)
    assert volume.read(b"/TWO", 0, 200_000) == content
    with pytest.raises(BrowseError, match=r"ends early, at byte 8192 of 100000: the chain breaks off"):
        volume.read(b"/ONE", 0, 200_000)
    assert volume.read(b"/ONE", 0, 2048) == content[:2048]
