"""Every file system that the appliance knows gives each file byte for byte, as its own kernel wrote it; one boot."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.backup.files import contents
from engines.backup.files.appliance.driver import GuestfsDisk, open_libguestfs
from engines.backup.files.model import Volume
from engines.backup.files.opening import BrowseTree, open_tree
from engines.job.contract import Cancel
from tests.engines.backup.files.images import MIB, Image, blank, run, table

pytestmark = pytest.mark.boot

SIZES = (1, 100, 511, 600, 2000, 4096, 5000, 30_000, 70_000, 300_000)
# By name of format: the tool, and the MiB of its partition; those made from a folder need no writing.
MADE = {
    "ntfs": (("mkfs.ntfs", "-q", "-F", "-L", "bay 7"), 24),
    "jfs": (("mkfs.jfs", "-q", "-L", "cold"), 24),
    "reiserfs": (("mkfs.reiserfs", "-q", "-f", "-f", "-l", "cold"), 48),
    "udf": (("mkfs.udf", "-b", "512", "--media-type=hd"), 16),
    "f2fs": (("mkfs.f2fs", "-q", "-f", "-l", "cold"), 64),
    "nilfs2": (("mkfs.nilfs2", "-q", "-f", "-L", "cold", "-B", "16"), 16),
    "minix": (("mkfs.minix", "-2"), 16),
    "exfat": (("mkfs.exfat",), 16),
    "vfat": (("mkfs.vfat", "-F", "32"), 40),
    "ext2": (("mkfs.ext2", "-q", "-F"), 16),
}
STILL = ("squashfs", "erofs", "iso9660")
NAMES = (*MADE, *STILL)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def spread() -> bytes:
    """Data, a hole, data, and zeros that were written."""
    return content(5000) + bytes(MIB) + content(7000) + bytes(20_000)


WANTED = {b"/file%d" % size: content(size) for size in SIZES} | {b"/spread": spread(), b"/zeros": bytes(9000)}


def still(folder: Path, name: str) -> Path:
    image = folder / name
    source = folder / "source"
    if name == "squashfs":
        run("mksquashfs", source, image, "-quiet", "-noappend")
    elif name == "erofs":
        run("mkfs.erofs", "-zlz4", image, source)
    else:
        run("genisoimage", "-quiet", "-R", "-o", image, source)
    with image.open("r+b") as stream:
        stream.truncate(-(-image.stat().st_size // MIB) * MIB)
    return image


class Estate(NamedTuple):
    disk: GuestfsDisk
    tree: BrowseTree


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """The file systems are filled by the appliance's kernel, on its own overlay, and taken out of its memory."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "source").mkdir()
    for path, raw in WANTED.items():
        (folder / "source" / os.fsdecode(path[1:])).write_bytes(raw)
    parts = []
    for name, (tool, mib) in MADE.items():
        run(*tool, blank(folder / name, mib * MIB))
        parts.append(folder / name)
    parts += [still(folder, name) for name in STILL]
    image = table(folder / "disk", "gpt", [(part, "") for part in parts], 400 * MIB)
    source = Image(image)
    with open_libguestfs(source, Cancel()) as disk, open_tree(source, appliance=disk) as tree:
        for number, name in enumerate(MADE, 1):
            disk.open(next(info for info in disk.infos() if info.name == f"p{number}"))
            for path, raw in WANTED.items():
                put(disk, b"/sysroot/p%d" % number + path, raw, sparse=name not in ("vfat", "exfat"))
        disk.shell(b"sync; echo 3 > /proc/sys/vm/drop_caches")
        yield Estate(disk, tree)
    source.close()


def put(disk: GuestfsDisk, path: bytes, raw: bytes, *, sparse: bool) -> None:
    """Through a pipe of base64, in pieces; a hole of 1 MiB where one is wanted."""
    disk.shell(b": > " + path)
    at = 0
    while at < len(raw):
        length = MIB if raw[at : at + MIB] == bytes(MIB) else min(40_000, len(raw) - at)
        if length == MIB and sparse:
            disk.shell(b"truncate -s %d " % (at + MIB) + path)
        else:
            for start in range(at, at + length, 40_000):
                piece = base64.b64encode(raw[start : min(start + 40_000, at + length)])
                disk.shell(b"base64 -d >> " + path + b" <<'END'\n" + piece + b"\nEND")
        at += length


def volume(estate: Estate, name: str) -> Volume:
    return estate.disk.open(next(each for each in estate.disk.infos() if each.name == f"p{NAMES.index(name) + 1}"))


def taken(served: Volume, path: bytes, into: Path) -> bytes:
    """A file as `get` writes it: only where it is said to hold data."""
    node = served.stat(path)
    descriptor = os.open(into, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in contents.write(descriptor, served, path, node, Cancel()):
            pass
    finally:
        os.close(descriptor)
    return into.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_what_get_places_is_what_was_written(estate: Estate, tmp_path: Path, name: str) -> None:
    served = volume(estate, name)
    there = {b"/" + node.name for node in served.list(b"/")}
    assert set(WANTED) <= there
    for path, raw in WANTED.items():
        assert served.read(path, 0, len(raw) + 1) == raw, path
        assert taken(served, path, tmp_path / "out") == raw, path


def test_auto_finds_all_of_them_by_their_signatures(estate: Estate) -> None:
    found = [info.format for info in estate.tree.infos.values()]
    assert found == list(NAMES)
    labels = {info.format: info.label for info in estate.tree.infos.values()}
    assert [labels[name] for name in ("ntfs", "jfs", "reiserfs", "f2fs", "nilfs2")] == ["bay 7", *["cold"] * 4]
