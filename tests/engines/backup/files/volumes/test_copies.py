"""A damaged superblock is known by its copy, whatever the geometry, in every way that it can be damaged."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from engines.backup.files.opening import open_tree
from engines.backup.files.volumes import copies
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.mended import Mended
from engines.backup.files.volumes.signatures import SPARE
from engines.backup.files.volumes.window import Window
from engines.job.contract import Cancel
from engines.job.errors import Stopped
from tests.engines.backup.files.images import MIB, Image, blank, ext, mounted, quick, run

ZERO, NOISE, BYTE = "zeros", "noise", "one byte"
XFS = ("mkfs.xfs", "-q", "--unsupported")
BTRFS = ("mkfs.btrfs", "-q", "--mixed")
CASES = [
    (("mkfs.xfs", "-q"), 320, 0, ZERO),
    ((*XFS, "-d", "agcount=3"), 64, 0, BYTE),
    ((*XFS, "-m", "crc=0", "-b", "size=512"), 64, 0, ZERO),
    ((*XFS, "-b", "size=1024", "-d", "agsize=17m"), 64, 0, NOISE),
    ((*XFS, "-s", "size=4096"), 64, 0, NOISE),
    (BTRFS, 72, 65536, ZERO),
    ((*BTRFS, "--csum", "xxhash"), 72, 65536, BYTE),
    ((*BTRFS, "--csum", "sha256"), 72, 65536, NOISE),
    ((*BTRFS, "--csum", "blake2"), 72, 65536, ZERO),
]


def hurt(image: Path, place: int, how: str) -> None:
    with image.open("r+b") as stream:
        stream.seek(place + (300 if how == BYTE else 0))
        stream.write({ZERO: bytes(4096), NOISE: os.urandom(4096), BYTE: b"\xa5"}[how])


@pytest.mark.parametrize(("tool", "size", "place", "how"), CASES)
def test_xfs_and_btrfs_are_read_by_a_copy(
    tmp_path: Path, tool: tuple[str, ...], size: int, place: int, how: str
) -> None:
    image = blank(tmp_path / "disk", size * MIB)
    run(*tool, "-L", "cold", image)
    before, whole = Image(image).read(place, 4096), survey(Image(image)).volumes[0]
    assert Mended.of(Image(image)) is None
    hurt(image, place, how)
    info = survey(Image(image)).volumes[0]
    assert (info.format, info.label, info.uuid, info.dirty) == (whole.format, "cold", whole.uuid, SPARE)
    mended = Mended.of(Image(image))
    assert mended is not None
    again = mended.read(place, 4096)
    if whole.format == "xfs":
        assert again[:104] == before[:104]
        assert copies.xfs_is_sound(mended.read(0, 4096), image.stat().st_size)
    else:
        assert again[0x20:] == before[0x20:]
        assert copies.btrfs_is_sound(again, place)
    assert mended.read(place - 1, 4) == Image(image).read(place - 1, 1) + again[:3] if place else again[:4] == b"XFSB"


@pytest.mark.parametrize(
    "options",
    [("-O", "bigalloc"), ("-b", "1024", "-O", "bigalloc", "-C", "4096"), ("-g", "8192", "-b", "4096"), ("-b", "2048")],
)
@pytest.mark.parametrize("how", [ZERO, BYTE])
def test_ext_is_read_by_a_copy(tmp_path: Path, options: tuple[str, ...], how: str) -> None:
    image = ext(tmp_path / "disk", 200 * MIB, *options)
    (tmp_path / "file").write_text("whole")
    run("debugfs", "-w", "-R", f"write {tmp_path / 'file'} file", image)
    with image.open("r+b") as stream:
        stream.seek(1024 if how == ZERO else 1024 + 0x20)
        stream.write(bytes(1024) if how == ZERO else b"\x01")
    assert survey(Image(image)).volumes[0].dirty == SPARE
    assert quick(image).read(b"/file", 0, 9) == b"whole"


def test_a_copy_of_another_file_system_is_none(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 320 * MIB)
    run("mkfs.xfs", "-q", image)
    length = struct.unpack_from(">I", Image(image).read(0, 512), 84)[0] * 4096
    moved = tmp_path / "moved"
    with blank(moved, 320 * MIB).open("r+b") as stream:
        stream.seek(length + MIB)
        stream.write(Image(image).read(length, 4096))
    assert copies.patch(Window(Image(moved), 0, 320 * MIB)) is None


class Crafted:
    """A disk of which every `step` bytes are a superblock's copy; the first one is broken."""

    def __init__(self, size: int, step: int, root: int) -> None:
        self.size = size
        self.reads = 0
        self._step = step
        block = min(step, 65536)
        raw = bytearray(512)
        struct.pack_into(">4sIQ", raw, 0, b"XFSB", block, size // block)
        struct.pack_into(">3Q", raw, 56, root, root + 1, root)
        struct.pack_into(">II", raw, 84, step // block, size // step)
        struct.pack_into(">HH", raw, 100, 4, 512)
        self._raw = bytes(raw)

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        piece = bytearray(length)
        for at in range(-offset % self._step, length, self._step):
            piece[at : at + 512] = self._raw[: length - at]
        if offset < 88:
            piece[84 - offset : 88 - offset] = bytes(4)
        return bytes(piece[:length])


@pytest.mark.parametrize(("size", "step"), [(64 * MIB, 512), (160 * MIB, 16 * MIB), (10**13 >> 24 << 24, 16 * MIB)])
@pytest.mark.parametrize("root", [0, (1 << 64) - 2, 1 << 56])
def test_copies_without_end_are_not_all_tried(size: int, step: int, root: int) -> None:
    disk = Crafted(size, step, root)
    assert survey(disk).volumes[0].dirty != SPARE
    assert Mended.of(disk) is None
    assert disk.reads < 2000


def old_and_new(image: Path, old: tuple[str, ...], new: tuple[str, ...], place: int, hole: bytes) -> str:
    """The format that is told of a disk that had `old` before `new`, of which `hole` is lost."""
    blank(image, 320 * MIB)
    run(*old, image)
    run(*new, image)
    with image.open("r+b") as stream:
        stream.seek(place)
        stream.write(hole)
    info = survey(Image(image)).volumes[0]
    assert info.dirty == SPARE
    return info.format


def test_what_the_first_bytes_still_prove_goes_before_a_former_file_system(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    xfs, ext4 = ("mkfs.xfs", "-q", "-f", "-K"), ("mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard")
    btrfs = ("mkfs.btrfs", "-q", "-f", "--nodiscard")
    assert old_and_new(image, xfs, btrfs, 65536 + 300, b"\xa5") == "btrfs"
    assert old_and_new(image, ext4, xfs, 0, bytes(512)) == "xfs"
    assert old_and_new(image, btrfs, xfs, 0, bytes(4096)) == "xfs"
    assert old_and_new(image, xfs, (*ext4, "-O", "^resize_inode"), 1024, bytes(1024)) == "ext4"
    for old in (ext4, xfs, (*ext4, "-b", "1024"), (*ext4, "-O", "meta_bg,^resize_inode")):
        assert old_and_new(image, old, btrfs, 65536, bytes(4096)) == "btrfs"
    assert old_and_new(image, btrfs, ext4, 1024, bytes(1024)) == "ext4"
    assert old_and_new(image, btrfs, (*ext4, "-b", "1024"), 0, bytes(2048)) == "ext4"


MOUNTS = [
    (("mkfs.xfs", "-q"), 320, 0, 512, "rw"),
    (("mkfs.xfs", "-q"), 320, 0, 4096, "ro,norecovery"),  # with the first group's own records behind it
    ((*XFS, "-b", "size=1024"), 64, 0, 2048, "ro,norecovery"),
    ((*XFS, "-m", "finobt=0"), 64, 0, 1536, "ro,norecovery"),
    (BTRFS, 72, 65536, 4096, "rw"),
]


@pytest.mark.parametrize(("tool", "size", "place", "length", "how"), MOUNTS)
def test_the_kernel_mounts_what_was_mended(
    tmp_path: Path, tool: tuple[str, ...], size: int, place: int, length: int, how: str
) -> None:
    image = blank(tmp_path / "disk", size * MIB)
    run(*tool, image)
    with mounted(image) as root:
        for number in range(300):
            (root / f"file{number}").write_text(str(number))
    with image.open("r+b") as stream:
        stream.seek(place)
        stream.write(os.urandom(length))
    mended = Mended.of(Image(image))
    assert mended is not None
    with image.open("r+b") as stream:
        stream.seek(place)
        stream.write(mended.read(place, 4096))
    with mounted(image, how) as root:
        assert {each.name: each.read_text() for each in root.glob("file*")} == {f"file{n}": str(n) for n in range(300)}


def test_a_stop_ends_the_search_for_copies(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 320 * MIB)
    run("mkfs.xfs", "-q", image)
    hurt(image, 0, ZERO)
    cancel = Cancel()

    class Stopping(Image):
        def read(self, offset: int, length: int) -> bytes:
            if offset >= 64 * MIB:
                cancel.set()
            return super().read(offset, length)

    with pytest.raises(Stopped):
        Mended.of(Stopping(image), cancel)
    cancel = Cancel()
    with pytest.raises(Stopped):
        open_tree(Stopping(image), cancel=cancel)
