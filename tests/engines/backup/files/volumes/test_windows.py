"""NTFS as ntfs-3g shows it and FAT as mtools wrote it; hostile ones end in words."""

from __future__ import annotations

import os
import random
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backup.files.model import NOT_REPLAYED, BrowseError, NoSuchFile, Unsupported, Volume, VolumeInfo, join
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.ntfs import links
from engines.backup.files.volumes.ntfs.lznt1 import decompress
from engines.backup.files.volumes.ntfs.record import LIST
from engines.backup.files.volumes.ntfs.volume import NtfsVolume
from engines.backup.files.volumes.quick import open_quick
from tests.engines.backup.files.images import MIB, blank, ntfs_mounted, quick, run
from tests.engines.backup.files.volumes.test_hostile import visited
from tests.engines.backup.files.volumes.test_replay import Bytes

NAMES = ["new\nline", "esc\x1b[31mred", "ünï", "日本", "back\\slash", "MiXed", "$dollar", "x" * 255]


def fill(folder: Path) -> None:
    rng = random.Random(3)
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "d" / "data").write_bytes(rng.randbytes(2 * MIB + 17))
    os.link(folder / "d" / "data", folder / "d" / "again")
    (folder / "link").symlink_to("d/data")
    os.setxattr(folder / "d" / "data", "user.stream", b"beside it")
    (folder / "d" / "data").chmod(0o644)
    os.utime(folder / "d" / "e", ns=(1_234_567_890_123_456_700, 1_700_000_000_987_654_300))
    with (folder / "holes").open("wb") as stream:
        for at in (0, 700, 5000):
            stream.seek(at * 1000)
            stream.write(b"data" * 2000)
        stream.truncate(9_000_000)
    packed = folder / "packed"
    packed.mkdir()
    os.setxattr(packed, "system.ntfs_attrib_be", (0x810).to_bytes(4, "big"))
    (packed / "text").write_bytes(b"".join(b"line %d of many\n" % number for number in range(60_000)))
    (packed / "mixed").write_bytes(rng.randbytes(70_000) + bytes(200_000) + b"end" * 30_000)
    (folder / "many").mkdir()
    for number in range(1500):
        (folder / "many" / f"file number {number}.txt").touch()
    for number in range(0, 1500, 7):
        (folder / "many" / f"file number {number}.txt").unlink()
    _fragmented(folder / "pieces")


def _fragmented(path: Path) -> None:
    """A file in so many runs that its record does not hold them."""
    with path.open("wb", buffering=0) as stream:
        for number in range(500):
            stream.seek(number * 40_960)
            stream.write(bytes([number % 255 + 1]) * 4096)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = blank(tmp_path_factory.mktemp("windows") / "disk", 32 * MIB)
    run("mkntfs", "-q", "-F", "-f", "-L", "WIN", image)
    with ntfs_mounted(image) as folder:
        fill(folder)
    return image


def every(volume: Volume, path: bytes = b"/") -> Iterator[bytes]:
    for node in volume.list(path):
        yield join(path, node.name)
        if node.is_folder:
            yield from every(volume, join(path, node.name))


def test_ntfs_is_what_ntfs_3g_sees(windows: Path) -> None:
    volume = quick(windows)
    assert isinstance(volume, NtfsVolume)
    found = set(every(volume))
    with ntfs_mounted(windows) as folder:
        judged = {os.fsencode(path)[len(os.fsencode(folder)) :] for path in folder.rglob("*")}
        assert found == judged
        for path in found:
            theirs, node = os.lstat(os.fsencode(folder) + path), volume.stat(path)
            assert (node.inode, node.mtime, node.ctime) == (theirs.st_ino, theirs.st_mtime_ns, theirs.st_ctime_ns), path
            assert stat.S_IFMT(node.mode) == stat.S_IFMT(theirs.st_mode)
            if node.is_file:
                wanted = Path(os.fsdecode(os.fsencode(folder) + path)).read_bytes()
                assert (node.size, node.links) == (len(wanted), theirs.st_nlink)
                assert volume.read(path, 0, node.size + 1) == wanted, path
                assert volume.read(path, 65_000, 70_000) == wanted[65_000:135_000]
                assert covered(volume, path, wanted)
        assert volume.stat(b"/link").link == os.fsencode(os.readlink(folder / "link"))  # noqa: PTH115  as bytes
    assert any(each.type == LIST for each in volume.record(volume.stat(b"/pieces").inode).attributes)
    assert volume.attributes(b"/d/data") == {"user.stream": b"beside it"}


def covered(volume: Volume, path: bytes, content: bytes) -> bool:
    """Whether all that is not zero lies in the extents."""
    bare = bytearray(content)
    for start, end in volume.extents(path):
        bare[start:end] = bytes(min(end, len(bare)) - start)
    return not any(bare)


def test_a_name_is_found_as_windows_finds_it(windows: Path) -> None:
    volume = quick(windows)
    assert volume.read(b"/mixed", 0, 9) == b"MiXed"
    assert volume.stat("/ÜNÏ".encode()).size == 5
    with pytest.raises(NoSuchFile):
        volume.stat(b"/$MFT")


@settings(max_examples=80)
@given(data=st.data())
def test_no_ntfs_is_too_broken(windows: Path, data: st.DataObject) -> None:
    raw = windows.read_bytes() if not KEPT else KEPT[0]
    KEPT[:] = [raw]
    table = int.from_bytes(raw[48:56], "little") * 4096
    records = st.sampled_from([0, 5, *range(64, 90)]).flatmap(
        lambda number: st.integers(table + number * 1024, table + number * 1024 + 500)
    )
    places = st.one_of(st.integers(11, 72), records, st.integers(raw.index(b"INDX"), raw.index(b"INDX") + 200))
    changed = data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=6))
    disk = Bytes(raw, changed)
    info = VolumeInfo(name="disk", format="ntfs", offset=0, size=disk.size, drivers=("quick",))
    survey(disk)
    try:
        for _ in zip(visited(open_quick(disk, info)), range(60), strict=False):
            continue
    except BrowseError:
        return


KEPT: list[bytes] = []


@given(raw=st.binary(max_size=300))
def test_no_compressed_bytes_are_too_broken(raw: bytes) -> None:
    try:
        assert len(decompress(raw, 65536)) == 65536
    except BrowseError:
        return


def test_links_of_windows_stay_inside_and_bytes_kept_elsewhere_are_named() -> None:
    def point(tag: int, target: str) -> bytes:
        raw = target.encode("utf-16-le")
        head = struct.pack("<IHHHHHH", tag, 0, 0, 0, len(raw), 0, 0)
        return head + (bytes(4) if tag == links.SYMLINK else b"") + raw

    assert links.target(point(links.SYMLINK, r"..\Users\me")) == b"../Users/me"
    assert links.target(point(links.SYMLINK, r"\??\C:\Program Files")) == b"/Program Files"
    assert links.target(point(links.MOUNT_POINT, r"\??\C:\Data")) == b"/Data"
    assert links.target(struct.pack("<IHHI", links.UNIX_LINK, 8, 0, 2) + b"/etc") == b"/etc"
    assert "CompactOS" in links.elsewhere(struct.pack("<II", 0x80000017, 0))
    assert "cloud" in links.elsewhere(struct.pack("<II", 0x9000601A, 0))
    assert not links.elsewhere(point(links.SYMLINK, "x"))


def test_an_encrypted_file_is_named(windows: Path) -> None:
    raw = bytearray(windows.read_bytes())
    at = raw.index("again".encode("utf-16-le"))
    flags = raw.index(struct.pack("<I", 0x80), at - 200) + 12
    raw[flags + 1] |= 0x40
    with pytest.raises(Unsupported, match="encrypted"):
        open_quick(Bytes(bytes(raw)), survey(Bytes(bytes(raw))).volumes[0]).read(b"/d/data", 0, 10)


def test_a_log_that_waits_is_looked_past_with_a_label_and_never_taken_for_the_truth(windows: Path) -> None:
    raw = windows.read_bytes()
    log = raw.index(b"RSTR") if b"RSTR" in raw else raw.index(b"\xff" * 8192)
    disk = Bytes(raw, dict(enumerate(b"RSTR".ljust(24, b"\0") + struct.pack("<H", 48) + bytes(54), log)))
    with open_tree(disk, purpose="look") as tree:
        assert tree.read(b"/d/data", 0, 5)
        assert tree.opened["disk"].state == NOT_REPLAYED
    with pytest.raises(Unsupported, match="cannot replay"):
        open_quick(disk, survey(disk).volumes[0], truth=True)


@pytest.mark.parametrize("width", ["12", "16", "32"])
def test_fat_is_what_mtools_wrote(tmp_path: Path, width: str) -> None:
    image = blank(tmp_path / "disk", {"12": 4, "16": 16, "32": 64}[width] * MIB)
    run("mkfs.vfat", "-F", width, "-n", "STICK", image)
    content = random.Random(1).randbytes(1_500_000)
    (tmp_path / "Long file name.bin").write_bytes(content)
    (tmp_path / "schön und grün").write_bytes(b"")
    run("mmd", "-i", image, "::Folder")
    run("mcopy", "-i", image, tmp_path / "Long file name.bin", tmp_path / "schön und grün", "::Folder")
    run("mcopy", "-i", image, tmp_path / "Long file name.bin", "::GONE.BIN")
    run("mdel", "-i", image, "::GONE.BIN")
    volume = quick(image)
    assert set(every(volume)) == {b"/Folder", b"/Folder/Long file name.bin", "/Folder/schön und grün".encode()}
    assert volume.read(b"/folder/LONG FILE NAME.BIN", 0, 2_000_000) == content
    assert volume.read(b"/Folder/Long file name.bin", 1_000_000, 10) == content[1_000_000:1_000_010]
    assert list(volume.extents(b"/Folder/Long file name.bin"))[-1][1] == len(content)
    with pytest.raises(NoSuchFile):
        volume.stat(b"/Folder/none")


@settings(max_examples=60)
@given(data=st.data())
def test_no_fat_is_too_broken(stick: bytes, data: st.DataObject) -> None:
    places = st.one_of(st.integers(11, 90), st.integers(512, 1100), st.integers(4 * 512, 24 * 512))
    disk = Bytes(stick, data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=6)))
    info = VolumeInfo(name="disk", format="vfat", offset=0, size=disk.size, drivers=("quick",))
    survey(disk)
    try:
        for _ in zip(visited(open_quick(disk, info)), range(60), strict=False):
            continue
    except BrowseError:
        return


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("stick")
    image = blank(folder / "disk", 2 * MIB)
    run("mkfs.vfat", "-F", "12", image)
    (folder / "some file").write_bytes(b"x" * 20_000)
    run("mmd", "-i", image, "::one", "::one/two")
    run("mcopy", "-i", image, folder / "some file", "::one/two")
    return image.read_bytes()
