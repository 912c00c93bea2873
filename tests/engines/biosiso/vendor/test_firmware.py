"""What a vendor's package is taken for, and what is refused before anything is written."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.biosiso.vendor import batch, firmware, rom
from engines.biosiso.vendor.archive import Member, members
from engines.biosiso.vendor.sources import Source
from engines.job.errors import Refused
from tests.engines.biosiso.packages import FLASH_BAT, KIT, ROM_SIZE, unpacked, zipped


def refused(path: Path, *words: str) -> Refused:
    with pytest.raises(Refused) as caught:
        firmware.read(path)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.what_helps
    return caught.value


def test_a_package_is_the_same_from_a_zip_a_folder_and_a_zip_with_one_top_folder(tmp_path: Path) -> None:
    kits = [
        firmware.read(zipped(tmp_path / "flat.zip", KIT)),
        firmware.read(
            zipped(tmp_path / "top.zip", {f"x9scm2_608/bios/{name}": content for name, content in KIT.items()})
        ),
        firmware.read(unpacked(tmp_path / "folder", KIT)),
    ]
    seen = [[(file.name, file.size, file.sha256) for file in kit.members] for kit in kits]
    assert seen[0] == seen[1] == sorted(seen[2])
    assert {kit.kind for kit in kits} == {"ami-dos"}
    assert [kit.sha256 != "" for kit in kits] == [True, True, False]


def test_inspect_tells_rom_date_vendor_line_and_what_is_written_to_the_medium(tmp_path: Path) -> None:
    found = firmware.inspect(firmware.InspectParams(firmware=str(zipped(tmp_path / "x.zip", KIT))))
    assert found["kind"] == "ami-dos"
    assert [(each["name"], each["size"], each["stem"], each["date"]) for each in found["roms"]] == [
        ("x9scm2.608", ROM_SIZE, "x9scm", "2012-06-08")
    ]
    assert found["vendor_line"] == "AFUDOSU.EXE %1 /P /B /N /K /R /FDT /MER /OPR"
    assert found["vendor_switches"] == "/P /B /N /K /R /FDT /MER /OPR"
    assert [(write["line"], write["what"]) for write in found["writes"]] == [
        (2, "renames a file"),
        (4, "renames a file"),
    ]
    table = firmware.table(json.loads(json.dumps(found)))
    for each in found["files"]:
        assert each["sha256"] in table
    assert "2012-06-08" in table


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"AFUDOS.smc": b"MZ", "ami.bat": b"x"}, "ami-dos"),
        ({"afudosu.smc": b"MZ", "Flash.bat": b"x", "FDT.smc": b"MZ"}, "flash-bat"),
        ({"AFUDOSU.SMC": b"MZ"}, "dos-flasher"),
        ({"UEFI/flash.nsh": b"x", "UEFI/AfuEfi.efi": b"MZ"}, "uefi-only"),
        ({"setup.exe": b"MZ"}, "unknown"),
    ],
)
def test_packages_are_told_apart_whatever_the_case_of_their_names(
    tmp_path: Path, files: dict[str, bytes], kind: str
) -> None:
    assert firmware.read(zipped(tmp_path / "x.zip", files)).kind == kind


def test_flash_bat_is_seen_to_write_and_to_reboot() -> None:
    script = batch.read("FLASH.BAT", FLASH_BAT.encode())
    assert [(write.line, write.what) for write in script.writes] == [
        (2, "renames a file"),
        (3, "writes FDT.LOG"),
        (5, "copies a file"),
        (6, "writes AUTOEXEC.BAT"),
        (7, "reboots"),
    ]
    assert script.flash_lines[-1].switches == "/P /B /N /K /R /FDT /MER /OPR"
    assert not script.lf_only


@pytest.mark.parametrize(
    "line",
    [
        "rem ren a b",
        "REM",
        ":ren",
        "echo ren it yourself",
        "afudosu.exe %1 /p > nul",
        "if errorlevel==1 goto end",
        "# cp a b",
    ],
)
def test_lines_that_write_nothing_are_not_accused(line: str) -> None:
    assert batch.read("x.bat", f"{line}\r\n".encode()).writes == ()


@pytest.mark.parametrize(
    ("line", "args"),
    [
        ('"%~dp0AFUDOSU.EXE" "%~1" /P /B', ["%1 /P /B"]),
        ("%~dp0AFUDOSU.EXE %~1 /P", ["%1 /P"]),
        ('"AFUDOSU.EXE" "%1" /P', ["%1 /P"]),
        ("LH AFUDOSU %1 /P", ["%1 /P"]),
        ("if exist x.rom LOADHIGH .\\AFUDOSU.EXE %1 /P", ["%1 /P"]),
        ("COMMAND /C AFUDOSU.EXE %1 /P", ["%1 /P"]),
        ("start /wait AFUDOSU.EXE %1 /P && echo done", ["%1 /P"]),
        ("IF EXIST X.ROM (AFUDOSU.EXE X.ROM /P) ELSE (AFUDOSU.EXE Y.ROM /N)", ["X.ROM /P", "Y.ROM /N"]),
        ("if exist x.rom (AFUDOSU.EXE %1 /P)", ["%1 /P"]),
        ("if exist a (if exist b (AFUDOSU.EXE %1 /P))", ["%1 /P"]),
        ("if exist a (if exist b (AFUDOSU.EXE %1 /P)) else (AFUDOSU.EXE %1 /N)", ["%1 /P", "%1 /N"]),
        ("if exist a (AFUDOSU.EXE %1 /P > nul)", ["%1 /P"]),
        ("if exist a (echo no) else AFUDOSU.EXE %1 /P", ["%1 /P"]),
        ("echo (see readme) else AFUDOSU.EXE %1 /P", []),
        ("set help=(see readme) else AFUDOSU.EXE %1 /P", []),
        ('"%~dp0AFUDOSU.EXE" "%~dp0my rom.bin" /P', ['"my rom.bin" /P']),
        ("call :flash %1", []),
        ("ECHO.AFUDOSU.EXE %1 /P", []),
        ("lh " * 300_000 + "x", []),
    ],
)
def test_a_call_is_known_however_it_is_dressed(line: str, args: list[str]) -> None:
    assert [found.args for found in batch.read("x.bat", f"{line}\r\n".encode()).flash_lines] == args


def test_a_nsh_that_leaves_itself_a_note_and_resets_is_seen() -> None:
    script = batch.read(
        "flash.nsh", b"fparts > fdt.txt\ncp startup.nsh old.nsh\necho flash.nsh %1 > startup.nsh\nreset\n"
    )
    assert [write.what for write in script.writes] == [
        "writes fdt.txt",
        "copies a file",
        "writes startup.nsh",
        "reboots",
    ]


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_any_bytes_at_all_can_be_read_as_a_batch(content: bytes) -> None:
    script = batch.read("x.bat", content)
    assert all(line.text for line in script.flash_lines)


@given(st.text(alphabet="afudos.exe %1/PBNKR \t@>|<\r\nIFrenECHO", max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_flash_lines_switches_are_only_ever_switches(text: str) -> None:
    for line in batch.read("x.bat", text.encode()).flash_lines:
        assert all(batch.SWITCH.fullmatch(word) for word in line.switches.split())


def member(name: str, dated: float = 0.0) -> Member:
    return Member(name=name, size=1, sha256="", source=Source(kind="text"), dated=dated)


@pytest.mark.parametrize(
    ("name", "dated", "stem", "date"),
    [
        ("x9scm2.608", 1339500000.0, "x9scm", "2012-06-08"),
        ("x9scm2.608", 0.0, "x9scm", ""),
        ("x9scm2.608", 1700000000.0, "x9scm", ""),
        ("X10SDVF1.604", 1622800000.0, "X10SDVF", "2021-06-04"),
        ("X10DRi15.A16", 1445000000.0, "X10DRi1", ""),
        ("x9scm2.639", 1339500000.0, "x9scm", ""),
        ("x9scm2.231", 1339500000.0, "x9scm", ""),
        ("BIOS_X11DPU-091C_20250325_4.6_STD.bin", 0.0, "BIOS_X11DPU-091C_20250325_4.6_STD", ""),
    ],
)
def test_a_roms_date_is_claimed_only_where_name_and_packing_day_agree(
    name: str, dated: float, stem: str, date: str
) -> None:
    found = rom.read(member(name, dated))
    assert (found.stem, found.date) == (stem, date)
    assert found.date_note


# ── hostile zips ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["../evil.bat", "/etc/passwd", "a/../../b", "C:evil.bat", "..\\evil.bat", "a//b", ""])
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    refused(zipped(tmp_path / "x.zip", {"AFUDOSU.SMC": b"MZ", name: b"x"}), "leads out")


def test_control_characters_in_a_name_are_refused_and_shown_escaped(tmp_path: Path) -> None:
    error = refused(zipped(tmp_path / "x.zip", {"a\x1b[2J.bat": b"x", "b": b""}))
    assert "\x1b" not in str(error)


def test_an_encrypted_zip_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"AFUDOSU.SMC": b"MZ"})
    raw = bytearray(path.read_bytes())
    struct.pack_into("<H", raw, raw.index(b"PK\x01\x02") + 8, 1)
    path.write_bytes(raw)
    assert "password" in refused(path, "is encrypted").what_helps


def test_a_zip_bomb_is_refused_by_what_it_says_and_stopped_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("big.bin", "w") as out:
        for _ in range(520):
            out.write(bytes(1024 * 1024))
    refused(path, "unpacks to")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02")
    struct.pack_into("<I", raw, at + 24, 1000)
    path.write_bytes(raw)
    refused(path, "big.bin")


def test_a_zip_of_two_million_files_is_refused_before_its_list_is_read(tmp_path: Path) -> None:
    path, count, size = tmp_path / "x.zip", 2_000_000, 2_000_000 * 47
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, size, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(entry * count + end64 + locator + end)
    tracemalloc.start()
    try:
        refused(path, "list of files")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_link_in_a_zip_and_in_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("AFUDOSU.SMC")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    refused(path, "link")
    folder = unpacked(tmp_path / "folder", KIT)
    (folder / "more").symlink_to("/etc")
    refused(folder, "no plain file")


def test_damaged_empty_and_missing_packages_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", KIT)
    raw = bytearray(path.read_bytes())
    raw[300] ^= 0xFF
    (tmp_path / "torn.zip").write_bytes(raw)
    (tmp_path / "short.zip").write_bytes(raw[:200])
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "torn.zip")
    refused(tmp_path / "short.zip", "no zip")
    refused(tmp_path / "empty", "no files")
    refused(tmp_path / "nowhere", "does not exist")


def test_a_name_twice_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x9scm2.608", b"one")
        archive.writestr("x9scm2.608", b"two")
    refused(path, "twice")


def test_two_flashers_that_differ_are_refused_and_two_alike_are_one(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "x.zip", KIT | {"AFUDOSU.EXE": b"MZ other"}), "differ")
    alike = firmware.read(zipped(tmp_path / "y.zip", KIT | {"AFUDOSU.EXE": KIT["AFUDOSU.SMC"]}))
    assert alike.flasher == "AFUDOSU.SMC"


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_a_zip_with_any_bytes_changed_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AFUDOSU.SMC", b"MZ" * 50)
        archive.writestr("AMI.BAT", b"AFUDOSU %1 /P\r\n")
    raw = bytearray(made.getvalue())
    for at, byte in enumerate(noise):
        raw[(at * 7919 + byte) % len(raw)] ^= byte if at % 5 == 0 else 0
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    path.write_bytes(raw)
    try:
        assert members(path)
    except Refused as error:
        assert error.what_helps
