"""Zips in a zip: each small by itself, together no more than a package may be."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from engines.biosiso.vendor import archive, batch
from engines.job.errors import Refused
from tests.fuzz.mutation import with_an_end

MIB = 1 << 20


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how, compresslevel=1) as to:
        for name, content in files.items():
            to.writestr(name, content)
    return made.getvalue()


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(Refused) as why:
        archive.members(path)
    return why.value.why


def test_a_few_zips_in_a_zip_may_not_unpack_to_what_one_may_not(tmp_path: Path) -> None:
    inner = zipped({"big.rom": bytes(300 * MIB)})
    whole = {f"{number}.zip": inner for number in range(4)}
    assert "bytes in the zips in it" in refused(tmp_path / "x.zip", zipped(whole, zipfile.ZIP_STORED))
    for name, content in whole.items():
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    with pytest.raises(Refused, match="bytes in the zips in it"):
        archive.members(tmp_path / "folder")


def test_many_files_in_an_inner_zip_are_not_each_worth_unpacking_it(tmp_path: Path) -> None:
    files = {"big.rom": bytes(40 * MIB), **{f"{number}.txt": b"x" for number in range(300)}}
    inner = zipped(files, zipfile.ZIP_STORED)
    assert "to be unpacked" in refused(tmp_path / "x.zip", zipped({"inner.zip": inner}))


def test_a_package_in_a_zip_in_a_zip_is_read(tmp_path: Path) -> None:
    inner = zipped({"X11/AFUDOSU.SMC": b"tool", "X11/X11SSL9.115": b"rom"})
    (tmp_path / "x.zip").write_bytes(zipped({"inner.zip": inner, "readme.txt": b"x"}))
    assert {member.base for member in archive.members(tmp_path / "x.zip")} == {
        "AFUDOSU.SMC", "X11SSL9.115", "readme.txt",
    }  # fmt: skip


def test_a_batch_file_of_one_long_word_is_read_in_one_pass() -> None:
    with with_an_end():
        assert batch.NAMED.findall("a" * 500_000 + " ren AFU.SMC afu.exe") == ["AFU.SMC", "afu.exe"]
