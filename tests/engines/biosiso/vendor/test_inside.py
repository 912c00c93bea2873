"""What a ROM's own bytes say, and how a board is held against it."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.biosiso.vendor import board, inside
from engines.biosiso.vendor.archive import Member
from engines.biosiso.vendor.inside import DESCRIPTOR, LZMA_GUID, Inside, look
from engines.biosiso.vendor.rom import read
from engines.biosiso.vendor.sources import Source
from engines.job.errors import BadParam, Refused
from engines.rehearsal.firmware import noise
from tests.engines.biosiso.packages import KIT, params, planned

SAID = b"\0X10SLQ-L\0BIOS Date: 09/18/2018 Ver: 2.0a\0American Megatrends\0"


def section(held: bytes) -> bytes:
    packed = lzma.compress(held, format=lzma.FORMAT_ALONE)
    return (24 + len(packed)).to_bytes(3, "little") + b"\x02" + LZMA_GUID + struct.pack("<HH", 24, 1) + packed


def rom(said: bytes, *, packed: bool = False, size: int = 256 * 1024) -> bytes:
    """Noise with a flash descriptor, one firmware volume, and a text in it."""
    content = bytearray(noise(size))
    content[16:20] = DESCRIPTOR
    content[0x1000:0x1038] = bytes(32) + struct.pack("<Q", 0x8000) + b"_FVH" + bytes(12)
    text = section(said) if packed else said
    content[0x2000 : 0x2000 + len(text)] = text
    return bytes(content)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("wide", [False, True], ids=["ascii", "ucs2"])
def test_descriptor_volumes_maker_board_version_and_date_are_read(packed: bool, wide: bool) -> None:
    said = SAID.decode().replace("\0", "\0\0\0").encode("utf-16-le") if wide else SAID
    found = look(rom(said, packed=packed))
    assert found == Inside(
        descriptor=True,
        volumes=1,
        packed=int(packed),
        makers=("AMI",),
        boards=("X10SLQ-L",),
        versions=("2.0a",),
        dates=("09/18/2018",),
    )


@pytest.mark.parametrize(
    "name",
    [
        *("X9DRi-LN4F+", "X10DRi", "X10QBi", "X11SPi-TF", "X10DRH-iT", "X9SCL+-F", "H11DSi-NT", "B9DRT"),
        *("A1SRi-2758F", "C7Z87-OCE", "M11SDV-8C+-LN4F", "X11DPG-OT-CPU"),
    ],
)
def test_boards_are_named_in_every_spelling_that_their_maker_has(name: str) -> None:
    for said in (name.encode(), name.encode("utf-16-le")):
        assert look(bytes(99) + b"AMIBIOS\0Supermicro\0" + said + bytes(9)).boards == (name,)


def test_words_that_only_begin_like_a_board_are_none() -> None:
    assert (
        look(b"\0".join([b"AMIBIOS", b"XEON", b"X86", b"X10", b"X9DR", b"A1B2C3", b"B1 rev", b"X11x64"])).boards == ()
    )


@pytest.mark.parametrize("around", [(b"\x9c", b"\x12"), (b"\x00", b"\x12"), (b"\x9c", b"\xff"), (b"\x9c8m", b"\x00")])
def test_a_word_like_a_board_in_what_is_packed_is_chance(around: tuple[bytes, bytes]) -> None:
    assert look(b"X9TD0".join([*around, *around])).boards == ()


@pytest.mark.parametrize("around", [(b"\xff", b"\0"), (b"\x9cSupermicro ", b"\x12"), (b"\x9c", b" BIOS 3.2\x12")])
def test_a_board_in_a_text_is_one_whatever_lies_around_it(around: tuple[bytes, bytes]) -> None:
    assert look(b"X9SCM".join(around)).boards == ("X9SCM",)


@pytest.mark.parametrize(
    "around",
    [(b"\r\n", b"\r\n"), (b"$", b"$"), (b"\t", b"\n"), (b"\0$", b"\xff"), (b"LEN", b"\0"), (b"LEN", b"\r\n")],
)
@pytest.mark.parametrize("name", ["X9SCM", "X9SCM-F"])
def test_a_board_between_the_edges_of_a_short_text_is_one(name: str, around: tuple[bytes, bytes]) -> None:
    before, after = (edge.replace(b"LEN", bytes([len(name)])) for edge in around)
    assert look(b"\x9c" + before + name.encode() + after + b"\x9c").boards == (name,)


@pytest.mark.parametrize("around", [(b"\x01", b"\x02"), (b"\x07", b"\x06"), (b"\x1e", b"\x03")])
def test_a_whole_name_may_stand_between_any_control_bytes(around: tuple[bytes, bytes]) -> None:
    assert look(b"X9SCM-F".join((b"\x9c" + around[0], around[1] + b"\x9c"))).boards == ("X9SCM-F",)


def test_noise_is_nothing() -> None:
    assert look(noise(1 << 20)) == Inside()
    assert look(noise(1 << 20)).words() == "nothing known here as firmware"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 250))
def test_any_bytes_can_be_looked_into(tail: bytes, cut: int) -> None:
    look((section(SAID) + b"_FVH" + tail)[cut:])
    look(tail)


def test_a_section_that_would_unpack_without_end_is_bounded() -> None:
    bomb = section(bytes(inside.UNPACKED + (8 << 20)))
    assert len(inside._unpacked(b"\0\0\0\0" + bomb, 8, 1 << 20)) <= 1 << 20


def a_rom(name: str) -> board.Rom:
    return read(Member(name=name, size=1 << 18, sha256="0" * 64, source=Source(kind="text", text=""), dated=0.0))


NAMES_IT = Inside(descriptor=True, boards=("X10SLQ-L",))


def test_a_board_that_the_rom_itself_names_needs_no_list() -> None:
    said = board.judge(a_rom("x11abc2.608"), "x11ssm-f", False, Inside(descriptor=True, boards=("X11SSM-F",)))
    assert any("what its own bytes say" in text for text in said)


def test_a_rom_whose_bytes_name_another_board_is_refused_whatever_it_is_called() -> None:
    with pytest.raises(Refused, match=r"names board X10SLQ-L in its own bytes, and not X9SCM-F"):
        board.judge(a_rom("x9scm2.608"), "X9SCM-F", False, NAMES_IT)
    shared = Inside(descriptor=True, boards=("X9SCM", "X9SCL-F"))
    assert board.judge(a_rom("x9scm2.608"), "X9SCM-F", False, shared)
    with pytest.raises(Refused):
        board.judge(a_rom("x9scm2.608"), "X9SCM-iiF", False, shared)


@pytest.mark.parametrize("name", ["X9DRW", "X10SRI-F", "X11SSH-F", "H12SSL-i"])
def test_a_board_that_neither_list_nor_rom_names_is_said_to_be_unknown(name: str) -> None:
    with pytest.raises(BadParam, match="is unknown here"):
        board.judge(a_rom("oddname1.203"), name, False, Inside(descriptor=True))


def test_the_later_names_tell_the_board() -> None:
    assert board.boards_of(a_rom("BIOS_X11DPU-091C_20250325_4.6_STD.bin")) == ("X11DPU", "X11DPU+")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("X10SLL4.424", "X10SLL-F"),
        ("X10SAT8.518", "X10SAT"),
        ("X10SDVF1.604", "X10SDV-TLN4F"),
        ("X11DPi7.218", "X11DPi-T"),
        ("BIOS_X11DPH-0981_20220208_3.6_STD.bin", "X11DPH-Tq"),
        ("BIOS_X11SPW-0953_20221028_3.8a_STD.bin", "X11SPW-TF"),
        ("BIOS_X11SDV-0986_20240903_2.2_STDsp.bin", "X11SDV-TP8F"),
        ("BIOS_X11SCH-F-1B11_20210525_1.6_STDsp.bin", "X11SCH-LN4F"),
        ("BIOS_X11SSWF-089B_20250115_3.5_STD.bin", "X11SSW-F"),
    ],
)
def test_the_list_knows_boards_of_three_ages_and_no_neighbour_of_theirs(name: str, wanted: str) -> None:
    assert board.judge(a_rom(name), wanted, False)
    with pytest.raises(Refused, match="does not match board X9SCM-F"):
        board.judge(a_rom(name), "X9SCM-F", False)
    with pytest.raises(BadParam, match="is unknown here"):
        board.judge(a_rom(name), f"{wanted}X", False)


def test_the_review_shows_what_is_in_the_rom(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"x9scm2.608": rom(b"\0X9SCM-F\0AMIBIOS\0")}))
    assert "names board X9SCM-F" in dict(plan.facts)["In the ROM"]
    noisy = planned(params(tmp_path / "b"))
    assert any("nothing in it shows that it is firmware" in text for text in noisy.warnings)
