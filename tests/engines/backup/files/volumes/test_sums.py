"""What fails its checksum in an ext4 is told, as the kernel tells it, and hides nothing else."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from engines.backup.files.model import BrowseError
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.ext.crc32c import crc32c
from engines.backup.files.volumes.ext.sums import Sums
from tests.engines.backup.files.images import MIB, Image, ext, mounted, quick, run
from tests.engines.backup.files.volumes.test_damaged import flipped

GEOMETRIES = {
    "1 KiB blocks": ("-b", "1024", "-O", "^has_journal"),
    "4 KiB blocks, large inodes": ("-b", "4096", "-I", "1024", "-O", "^has_journal,inline_data"),
    "small inodes": ("-b", "1024", "-I", "128", "-O", "^has_journal"),
    "a seed of its own": ("-b", "2048", "-O", "^has_journal,metadata_csum_seed"),
}
FRAGMENTS = 300
LATE = 50  # an entry of the sixth batch, of 32
FILES = 100  # so that some of them come in a batch that is worked out at once


def place_of(image: Path, path: str) -> int:
    """Where its inode lies, in bytes."""
    said = run("debugfs", "-R", f"imap {path}", image)
    block, offset = int(said.split("located at block ")[1].split(",")[0]), int(said.split()[-1], 16)
    size = int(next(line.split()[-1] for line in run("dumpe2fs", "-h", image).splitlines() if "Block size" in line))
    return block * size + offset


def refused(volume_says: BrowseError, root: Path, path: str) -> None:
    with pytest.raises(OSError) as kernel:
        (root / path).read_bytes()
    assert kernel.value.errno
    assert "checksum" in str(volume_says)


@pytest.fixture(scope="module", params=GEOMETRIES)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = ext(tmp_path_factory.mktemp("sums") / "disk", 24 * MIB, "-N", "160", *GEOMETRIES[request.param])
    with mounted(made) as root:
        (root / "d").mkdir()
        for number in range(FILES):
            (root / f"d/file{number}").write_bytes(b"%d" % number * 100)
        with (root / "parts").open("wb") as stream:
            for number in range(FRAGMENTS):
                stream.seek(number * 16384)
                stream.write(bytes([number % 251 + 1]) * 4096)
        (root / "noted").touch()
        for name in ("one", "two"):
            os.setxattr(root / "noted", f"user.{name}", os.urandom(350))
    return made


@pytest.fixture
def copy(image: Path, tmp_path: Path) -> Path:
    (tmp_path / "copy").write_bytes(image.read_bytes())
    return tmp_path / "copy"


@pytest.mark.parametrize("byte", [4, 0x28], ids=["size", "map"])
def test_a_damaged_inode_is_never_believed(copy: Path, byte: int) -> None:
    late = [node.name.decode() for node in quick(copy).list(b"/d")][LATE]
    volume = quick(flipped(copy, place_of(copy, f"/d/{late}") + byte))
    with pytest.raises(BrowseError, match=r"inode \d+ is damaged: its checksum") as told:
        volume.read(b"/d/" + late.encode(), 0, 99)
    nodes = {node.name: node for node in volume.list(b"/d")}
    assert [name for name, node in nodes.items() if not node.mode] == [late.encode()]
    assert len(nodes) == FILES
    other = "8" if late != "file8" else "9"
    assert volume.read(f"/d/file{other}".encode(), 0, 99) == other.encode() * 99
    with mounted(copy, "ro") as root:
        refused(told.value, root, f"d/{late}")
    with open_tree(Image(copy), "quick") as tree:
        heard: list[bytes] = []
        assert f"/d/file{other}".encode() in [path for path, _ in tree.walk(b"/", lambda path, _: heard.append(path))]
    assert heard == [f"/d/{late}".encode()]


def test_a_damaged_map_of_blocks_is_never_followed(copy: Path) -> None:
    said = run("debugfs", "-R", "ex /parts", copy).splitlines()
    block = int(next(line.split() for line in said if line.split()[0] == "0/")[7])
    size = int(next(line.split()[-1] for line in run("dumpe2fs", "-h", copy).splitlines() if "Block size" in line))
    whole = quick(copy).read(b"/parts", 0, FRAGMENTS * 16384)
    volume = quick(flipped(copy, block * size + 12 + 8))  # the first extent's place
    with pytest.raises(BrowseError, match=r"extent tree of inode .* checksum") as told:
        volume.read(b"/parts", 0, 4096)
    with pytest.raises(BrowseError, match="checksum"):
        list(volume.extents(b"/parts"))
    assert whole[:4096] == b"\1" * 4096
    with mounted(copy, "ro") as root:
        refused(told.value, root, "parts")


def test_a_damaged_block_of_attributes_is_told(copy: Path) -> None:
    before = quick(copy).attributes(b"/noted")
    assert len(before) == 2
    value = before["user.one"]
    at = copy.read_bytes().index(value)
    volume = quick(flipped(copy, at + 5))
    if 0 < at - place_of(copy, "/noted") < 1024:  # within the inode
        with pytest.raises(BrowseError, match=r"inode \d+ is damaged"):
            volume.attributes(b"/noted")
        return
    with pytest.raises(BrowseError, match=r"attribute block of inode .* checksum"):
        volume.attributes(b"/noted")
    assert volume.read(b"/noted", 0, 9) == b""
    with mounted(copy, "ro") as root, pytest.raises(OSError):
        os.getxattr(root / "noted", "user.one")


def test_a_block_of_attributes_that_many_files_share_is_worked_out_once() -> None:
    block = os.urandom(1024)
    sums = Sums(7)
    plain = block[:16] + bytes(4) + block[20:]
    block = block[:16] + struct.pack("<I", crc32c(plain, crc32c(struct.pack("<Q", 9), 7))) + block[20:]
    assert not sums.attributes(9, plain)
    assert sums.attributes(9, block)
    assert sums.attributes(9, plain)  # what is on the disk stays as it is: it is not looked at again
    assert not sums.attributes(8, block)
