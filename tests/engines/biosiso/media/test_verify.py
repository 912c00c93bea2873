"""Reading a disc back finds every kind of damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engines.biosiso.media import iso, verify
from engines.biosiso.media.layout import BOOT
from engines.biosiso.media.making import Detail
from engines.job.errors import Failed
from tests.engines.biosiso.packages import params, planned

SECTOR = 2048
Damage = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[iso.DiscContent, bytes]:
    folder = tmp_path_factory.mktemp("verify")
    detail = msgspec.convert(planned(params(folder)).detail, Detail)
    told = list(iso.write(detail.disc, folder / "x.iso"))
    assert told[-1][0] == told[-1][1]
    return detail.disc, (folder / "x.iso").read_bytes()


def check(disc: iso.DiscContent, content: bytes, folder: Path) -> None:
    (folder / "x.iso").write_bytes(content)
    told = list(verify.verify(disc, folder / "x.iso"))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {sum(entry.size for entry in disc.entries)}


def test_a_good_disc_passes(written: tuple[iso.DiscContent, bytes], tmp_path: Path) -> None:
    check(*written, tmp_path)


def record(content: bytearray, name: bytes) -> int:
    """Where the directory record of a level 1 name begins."""
    return content.index(name) - 33


def catalog(content: bytearray) -> int:
    return int(struct.unpack_from("<I", content, 17 * SECTOR + 0x47)[0]) * SECTOR


def boot_record(content: bytearray) -> None:
    content[17 * SECTOR + 7] = 0


def catalog_checksum(content: bytearray) -> None:
    content[catalog(content) + 4] ^= 1


def boot_place(content: bytearray) -> None:
    content[catalog(content) + 40] ^= 1


def boot_indicator(content: bytearray) -> None:
    content[catalog(content) + 32] = 0


def boot_sectors(content: bytearray) -> None:
    content[catalog(content) + 38] = 1


def boot_info(content: bytearray) -> None:
    place = struct.unpack_from("<I", content, catalog(content) + 40)[0] * SECTOR
    content[place + 16] ^= 1


def a_name(content: bytearray) -> None:
    at = content.index(b"AMI2.BAT;1")
    content[at : at + 4] = b"AMI3"


def a_length(content: bytearray) -> None:
    at = record(content, b"X9SCM2.608;1")
    struct.pack_into("<I", content, at + 10, 1000)


def a_place(content: bytearray) -> None:
    at = record(content, b"X9SCM2.608;1")
    struct.pack_into("<I", content, at + 2, struct.unpack_from("<I", content, at + 2)[0] + 1)


def multi_extent(content: bytearray) -> None:
    content[record(content, b"AFUDOSU.SMC;1") + 25] |= 0x80


def a_byte(content: bytearray) -> None:
    content[content.index(b"afudosu.exe %1")] ^= 0x20


def the_end(content: bytearray) -> None:
    del content[-3 * SECTOR :]


@pytest.mark.parametrize(
    "damage",
    [
        boot_record,
        catalog_checksum,
        boot_place,
        boot_indicator,
        boot_sectors,
        boot_info,
        a_name,
        a_length,
        a_place,
        multi_extent,
        a_byte,
        the_end,
    ],
)
def test_a_damaged_disc_does_not_pass(damage: Damage, written: tuple[iso.DiscContent, bytes], tmp_path: Path) -> None:
    content = bytearray(written[1])
    damage(content)
    assert content != written[1]
    with pytest.raises(Failed) as caught:
        check(written[0], bytes(content), tmp_path)
    assert caught.value.what_helps


def test_a_file_that_pycdlib_was_given_twice_does_not_pass(
    written: tuple[iso.DiscContent, bytes], tmp_path: Path
) -> None:
    disc = written[0]
    ami2 = next(entry for entry in disc.entries if entry.disc == "AMI2.BAT")
    doubled = msgspec.structs.replace(disc, entries=(*disc.entries, ami2))
    list(iso.write(doubled, tmp_path / "twice.iso"))
    with pytest.raises(Failed):
        list(verify.verify(disc, tmp_path / "twice.iso"))


def test_isolinux_bin_is_the_only_file_that_differs_from_its_source(written: tuple[iso.DiscContent, bytes]) -> None:
    disc, content = written
    source = next(entry for entry in disc.entries if entry.disc == BOOT[0]).source
    with source.open() as stream:
        original = stream.read()
    assert original not in content
    assert original[64:] in content
