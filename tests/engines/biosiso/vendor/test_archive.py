"""Zips in a zip: each small by itself, together no more than a package may be."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from engines.biosiso.vendor import archive, batch, firmware, line, rom
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


def test_a_folder_in_a_zip_is_one_however_its_name_ends(tmp_path: Path) -> None:
    files = {"DOS\\": b"", "DOS\\AFUDOS.EXE": b"tool", "UEFI/": b"", "UEFI\\x.nsh": b"script"}
    (tmp_path / "x.zip").write_bytes(zipped(files))
    assert [member.name for member in archive.members(tmp_path / "x.zip")] == ["DOS/AFUDOS.EXE", "UEFI/x.nsh"]


def test_a_batch_file_of_one_long_word_is_read_in_one_pass() -> None:
    with with_an_end():
        assert batch.NAMED.findall("a" * 500_000 + " ren AFU.SMC afu.exe") == ["AFU.SMC", "afu.exe"]


@pytest.mark.parametrize(
    ("begins", "name", "words", "helps"),
    [
        (b"7z\xbc\xaf\x27\x1c", "x.7z", "a 7-Zip archive", "7z x"),
        (b"Rar!\x1a\x07\x01\x00", "x.zip", "a RAR archive", "7z x"),
        (b"\x1f\x8b\x08", "x.tgz", "packed by gzip", "7z x"),
        (b"MZ\x90", "sp12345.exe", "a program", "7z x"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><title>Log in</title>", "x.zip", "a web page", "browser"),
        (b"%PDF-1.4", "x.zip", "a PDF", "BIOS zip"),
        (bytes(32769) + b"CD001" + bytes(2043), "x.iso", "an ISO image", "mount"),
        (bytes(257) + b"ustar\x0000" + bytes(248), "x.tar", "a tar archive", "7z x"),
        (bytes(1 << 20), "x9scm2.608", "a BIOS image by itself", "flasher"),
        (b"", "x.zip", "empty", "again"),
        (b"PK\x03\x04 and no more", "x.zip", "no zip that can be read", "again"),
    ],
)
def test_what_is_no_zip_is_told_for_what_it_is(
    tmp_path: Path, begins: bytes, name: str, words: str, helps: str
) -> None:
    (tmp_path / name).write_bytes(begins)
    with pytest.raises(Refused) as refusal:
        archive.members(tmp_path / name)
    assert words in refusal.value.why and helps in refusal.value.what_helps


def test_what_macos_puts_into_a_zip_is_none_of_the_package(tmp_path: Path) -> None:
    files = {"bios/AFUDOS.EXE": b"MZ", "bios/S.ROM": bytes(MIB), "__MACOSX/bios/._S.ROM": bytes(MIB + 1)}
    (tmp_path / "x.zip").write_bytes(zipped(files | {"bios/.DS_Store": b"x"}))
    kit = firmware.read(tmp_path / "x.zip")
    assert [member.name for member in kit.members] == ["AFUDOS.EXE", "S.ROM"]
    assert [found.name for found in kit.roms] == ["S.ROM"]
    held = files | {"bios/__MACOSX/._S.ROM": bytes(MIB + 1), "bios/._AFUDOS.EXE": b"x"}
    wrapped = {"a/in.zip": zipped(held), "__MACOSX/a/._in.zip": b"no zip", "a/__MACOSX/._in.zip": b"no zip"}
    (tmp_path / "y.zip").write_bytes(zipped(wrapped))
    found = firmware.read(tmp_path / "y.zip").members
    assert [member.base for member in found] == ["AFUDOS.EXE", "S.ROM"]
    with zipfile.ZipFile(tmp_path / "y.zip") as archived:
        archived.extractall(tmp_path / "folder")
    assert [member.base for member in firmware.read(tmp_path / "folder").members] == ["AFUDOS.EXE", "S.ROM"]


def picked(folder: Path, files: dict[str, bytes]) -> str:
    (folder / "x.zip").write_bytes(zipped(files))
    kit = firmware.read(folder / "x.zip")
    return rom.pick(kit.roms, "", "x.zip", kit.members, kit.called()).name


def test_of_two_roms_that_a_batch_flashes_by_its_argument_none_is_picked(tmp_path: Path) -> None:
    files = {"AFUDOS.EXE": b"MZ", "A.ROM": bytes(MIB), "B.ROM": b"b" * MIB}
    both = b'if "%1"=="A" afudos a.rom /p\r\nif "%1"=="B" afudos b.rom /p\r\n'
    with pytest.raises(Refused, match="2 ROMs"):
        picked(tmp_path, files | {"f.bat": both})
    with pytest.raises(Refused, match="2 ROMs"):
        picked(tmp_path, files | {"a.bat": b"afudos a.rom /p", "b.bat": b"afudos b.rom /p"})
    assert picked(tmp_path, files | {"f.bat": b"afudos b.rom /p\r\nafudos b.rom /n"}) == "B.ROM"


BY_VARIABLE = {
    "under a condition": 'set ROM=a.rom|if "%1"=="B" set ROM=b.rom|afudos %ROM% /p',
    "under a condition alone": 'if "%1"=="B" set ROM=b.rom|afudos %ROM% /p',
    "in a loop": "for %%f in (a b) do set ROM=%%f.rom|afudos %ROM% /p",
    "behind labels": 'if "%1"=="B" goto b|set ROM=a.rom|goto go|:b|set ROM=b.rom|:go|afudos %ROM% /p',
    "jumped over": 'if "%1"=="A" goto go|set ROM=b.rom|:go|afudos %ROM% /p',
    "in a block": 'set ROM=a.rom|if "%1"=="B" (|set ROM=b.rom|)|afudos %ROM% /p',
    "in a block alone": 'if "%1"=="B" (|set ROM=b.rom|)|afudos %ROM% /p',
    "asked for": "set ROM=b.rom|set /p ROM=Which?|afudos %ROM% /p",
    "in quotes": 'set ROM=a.rom|set "ROM=b.rom"|afudos %ROM% /p',
    "behind another command": "set ROM=b.rom|echo x & set ROM=a.rom|afudos %ROM% /p",
    "by another script": "set ROM=b.rom|call which.bat|afudos %ROM% /p",
    "through another": 'set X=a|if "%1"=="B" set X=b|set ROM=%X%.rom|afudos %ROM% /p',
    "twice": "set ROM=a.rom|set ROM=b.rom|afudos %ROM% /p",
    "beside a name": "afudos %ROM% /p|afudos b.rom /p",
    "beside an argument": 'if "%1"=="" afudos b.rom /p|afudos %1 /p',
}


@pytest.mark.parametrize("lines", BY_VARIABLE.values(), ids=BY_VARIABLE)
def test_of_two_roms_none_is_picked_by_a_variable_that_the_text_leaves_open(tmp_path: Path, lines: str) -> None:
    files = {"AFUDOS.EXE": b"MZ", "A.ROM": bytes(MIB), "B.ROM": b"b" * MIB}
    with pytest.raises(Refused, match="2 ROMs") as refusal:
        picked(tmp_path, files | {"f.bat": lines.replace("|", "\r\n").encode()})
    assert "--rom NAME" in refusal.value.what_helps


@pytest.mark.parametrize(
    "lines",
    [
        "set ROM=b.rom|:: its flash line|if not exist %ROM% goto err|if errorlevel 1 goto err|afudos %ROM% /p|:err",
        "rem set ROM=a.rom|:again|set NAME=b|@SET ROM=%name%.rom|afudos %ROM% /p|if errorlevel 1 goto again",
        "set ROM=b.rom|set ROM=b.rom|afudos %rom% /p /b /n",
        "set ROM=b.rom|if exist %ROM% afudos %ROM% /p",
    ],
)
def test_a_rom_that_a_variable_names_for_certain_is_picked(tmp_path: Path, lines: str) -> None:
    files = {"AFUDOS.EXE": b"MZ", "A.ROM": bytes(MIB), "B.ROM": b"b" * MIB}
    assert picked(tmp_path, files | {"f.bat": lines.replace("|", "\r\n").encode()}) == "B.ROM"


@pytest.mark.parametrize(("before", "wanted"), [("", "efiflash.exe %1 /C"), ('if "%2"=="Y" ', "")])
def test_options_that_hang_on_a_condition_are_not_the_line_on_the_disc(
    tmp_path: Path, before: str, wanted: str
) -> None:
    batch_file = f"{before}set OPT=/C\r\nefiflash %1 %OPT%\r\n".encode()
    (tmp_path / "x.zip").write_bytes(zipped({"EFIFLASH.EXE": b"MZ", "B.ROM": bytes(MIB), "f.bat": batch_file}))
    kit = firmware.read(tmp_path / "x.zip")
    if wanted:
        assert line.decide(kit, kit.roms[0], "", "").text == wanted
    else:
        with pytest.raises(Refused, match="no batch file that says how"):
            line.decide(kit, kit.roms[0], "", "")


@pytest.mark.parametrize(
    ("files", "helps"),
    [
        ({"bios.7z": b"x", "readme.txt": b"x", "AFU.EXE": b"x"}, "unpack bios.7z"),
        ({"setup.exe": b"x", "Release notes.pdf": b"x"}, "unpack setup.exe"),
        ({"IFLASH2.EXE": b"x", "S5000.BIO": b"x"}, "--rom NAME"),
    ],
)
def test_where_no_rom_is_seen_it_says_what_may_hold_it(tmp_path: Path, files: dict[str, bytes], helps: str) -> None:
    with pytest.raises(Refused) as refusal:
        picked(tmp_path, files)
    assert helps in refusal.value.what_helps


def test_a_flash_line_is_read_through_the_variables_of_its_batch() -> None:
    lines = b"@SET F=AFUDOS\r\nset OPT=/P /B /N\r\nset LOOP=%LOOP%%LOOP%\r\n@%f%.EXE %1 %Opt%\r\n%OTHER% %1 /X\r\n"
    (found,) = batch.read("f.bat", lines).flash_lines
    assert (found.tool, found.args, found.switches) == ("afudos", "%1 /P /B /N", "/P /B /N")
    many = b"set A=%A%x%A%\r\n" * 20_000
    with with_an_end():
        batch.read("f.bat", many)
