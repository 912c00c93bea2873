"""FAT volumes: ours pass fsck and are read by mtools and the Sleuth Kit, others' by us, damaged ones are refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import pytsk3
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.biosiso.media import fat16
from engines.biosiso.media.layout import Entry, of_text
from engines.biosiso.vendor import fat
from engines.biosiso.vendor.sources import Source
from engines.job.errors import Failed, Refused
from tests.engines.biosiso.packages import floppy, freedos_like

EPOCH = 1339493400


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return floppy(tmp_path_factory.mktemp("fat") / "dos.img", freedos_like(b"k" * 46000)).read_bytes()


def test_a_floppy_made_by_mtools_is_read_whole(image: bytes) -> None:
    volume = fat.volume(image)
    read = {file.path: volume.read(file) for file in volume.files()}
    assert read == {name.upper(): content for name, content in freedos_like(b"k" * 46000).items()}


@given(st.lists(st.tuples(st.integers(0, 12000), st.integers(0, 255)), min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_damaged_volume_is_read_within_bounds_or_refused(image: bytes, damage: list[tuple[int, int]]) -> None:
    raw = bytearray(image)
    for at, byte in damage:
        raw[at] = byte
    try:
        volume = fat.volume(bytes(raw))
        for file in volume.files():
            try:
                assert len(volume.read(file)) == file.size <= len(raw)
            except fat.NoFat as error:
                assert str(error)
    except fat.NoFat as error:
        assert str(error)


@given(st.binary(max_size=1500))
def test_any_bytes_are_no_volume(content: bytes) -> None:
    with pytest.raises(fat.NoFat):
        fat.volume(content)


def files(tmp_path: Path) -> list[Entry]:
    (tmp_path / "big").write_bytes(bytes(range(256)) * 4097)
    source = Source(kind="file", path=str(tmp_path / "big"))
    size, sha256 = source.digest()
    return [
        of_text("A.TXT", "one\r\n"),
        of_text("EMPTY.TXT", ""),
        of_text("SUB/DEEP/B.TXT", "two\r\n"),
        Entry(disc="SUB/BIG.BIN", name="big", source=source, size=size, sha256=sha256),
    ]


@pytest.mark.parametrize("start", [0, fat16.START])
def test_a_written_volume_is_clean_and_read_back_by_mtools_and_the_sleuth_kit(tmp_path: Path, start: int) -> None:
    entries = files(tmp_path)
    out = tmp_path / "out.img"
    with out.open("xb") as stream:
        told = list(fat16.write(fat16.layout(entries, start), entries, stream, EPOCH, "LABEL"))
    assert told[-1] == (told[-1][1], sum(entry.size for entry in entries))
    bare = tmp_path / "bare.img"
    bare.write_bytes(out.read_bytes()[start * 512 :])
    checked = subprocess.run(["fsck.fat", "-n", bare], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    for entry in entries:
        shown = subprocess.run(["mtype", "-i", bare, f"::{entry.disc}"], capture_output=True, check=True).stdout
        with entry.source.open() as stream:
            assert shown == stream.read()
    volume = pytsk3.FS_Info(pytsk3.Img_Info(str(out)), offset=start * 512)
    assert volume.info.ftype == pytsk3.TSK_FS_TYPE_FAT16
    for entry in entries:
        found = volume.open(f"/{entry.disc}")
        held = found.read_random(0, found.info.meta.size) if found.info.meta.size else b""
        with entry.source.open() as stream:
            assert held == stream.read(), entry.disc
    listing = subprocess.run(["mdir", "-i", bare, "::"], capture_output=True, text=True, check=True).stdout
    assert "2012-06-12" in listing
    assert list(fat16.check(entries, out, start))[-1] == (sum(entry.size for entry in entries),) * 2


def test_a_volume_that_does_not_hold_what_was_written_is_seen(tmp_path: Path) -> None:
    entries = files(tmp_path)
    out = tmp_path / "out.img"
    with out.open("xb") as stream:
        list(fat16.write(fat16.layout(entries, 0), entries, stream, EPOCH, "LABEL"))
    raw = bytearray(out.read_bytes())
    raw[raw.index(b"one\r\n")] ^= 1
    out.write_bytes(raw)
    with pytest.raises(Failed, match=r"A\.TXT reads back differently"):
        list(fat16.check(entries, out, 0))


def test_more_than_a_ram_disk_holds_is_refused(tmp_path: Path) -> None:
    huge = Entry(disc="X", name="x", source=Source(kind="text"), size=300 * 1024 * 1024, sha256="")
    with pytest.raises(Refused, match="allowed are"):
        fat16.layout([huge])
