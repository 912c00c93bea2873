"""Packages of other vendors and other makings: any flasher, zips in zips, two steps, capsules and UEFI only."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import pytsk3

from engines.biosiso.vendor import firmware
from engines.job.contract import TextChange
from engines.job.errors import BadParam, Refused
from tests.engines.biosiso.packages import (
    FLASH_BAT,
    FLASHER,
    KIT,
    ROM_SIZE,
    made,
    output,
    params,
    planned,
    unpacked,
    zipped,
)

ROM = KIT["x9scm2.608"]
GIGABYTE = {"EFIFLASH.EXE": FLASHER, "MZ31AR0.F10": ROM, "autoexec.bat": b"@echo off\r\nefiflash MZ31AR0.F10 /C /R\r\n"}
INTEL = {"IFLASH2.EXE": FLASHER, "S5000.BIO": ROM[:5000]}


def text(plan: Any, name: str) -> str:
    entries = (*plan.detail["disc"]["entries"], *plan.detail["volume"])
    return str(next(entry for entry in entries if entry["disc"] == name)["source"]["text"])


def test_a_flash_bat_package_has_the_vendors_way_first_everywhere(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"FLASH.BAT": FLASH_BAT.encode()}, form="stick"))
    facts = dict(plan.facts)
    first, by_hand = "FLASH X9SCM2.608", "AMI2 X9SCM2.608"
    for said in (facts["To type in DOS"], text(plan, "AUTORUN.BAT"), text(plan, "README.TXT")):
        assert first in said and "the vendor's way" in said
        assert said.index(first) < said.index(by_hand)
    assert "vendor's way: FLASH X9SCM2.608" in text(plan, "MANIFEST.TXT")
    assert "FLASH" not in text(planned(params(tmp_path / "x")), "AUTORUN.BAT").replace("flash", "")


def test_any_flasher_is_called_as_the_vendors_batch_calls_it(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, GIGABYTE, rom="mz31ar0.f10", board=""))
    assert text(plan, "AMI2.BAT") == "efiflash.exe %1 /C /R\r\n"
    assert plan.detail["flasher"] == "EFIFLASH.EXE" and plan.detail["rom"] == "MZ31AR0.F10"
    assert "which runs: efiflash.exe MZ31AR0.F10 /C /R" in text(plan, "AUTORUN.BAT")
    assert "AFUDOSU.EXE" not in [entry["disc"] for entry in plan.detail["disc"]["entries"]]
    made(params(tmp_path, GIGABYTE, rom="mz31ar0.f10", board=""))


def test_a_flasher_is_named_with_its_line_and_any_file_is_the_rom(tmp_path: Path) -> None:
    given: dict[str, Any] = {"rom": "S5000.BIO", "board": ""}
    with pytest.raises(Refused, match="no batch file that says how IFLASH2"):
        planned(params(tmp_path, INTEL, **given))
    plan = planned(params(tmp_path, INTEL, **given, flasher="iflash2.exe", command="iflash2 /u %1"))
    assert text(plan, "AMI2.BAT") == "iflash2.exe /u %1\r\n"
    assert any("no flash chip's size" in warning for warning in plan.warnings)
    odd = {"OWNTOOL.COM": FLASHER, "board.img": ROM, "GO.BAT": b"owntool board.img -force\r\n"}
    plan = planned(params(tmp_path / "odd", odd, rom="board.img", board="", flasher="OWNTOOL.COM"))
    assert text(plan, "AMI2.BAT") == "owntool.com %1 -force\r\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("format c: %1", "first word is not the flasher"),
        ("iflash2 %1 | more", "without redirection"),
        ("iflash2 /u", "%1 must stand in it once"),
        ("iflash2 %1 %1", "%1 must stand in it once"),
        ("iflash2 %1 %PATH%", "%1 must stand in it once"),
        ("iflash2 %1 /X", "without comparing"),
    ],
)
def test_a_command_that_is_none_is_refused(command: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadParam, match=words):
        planned(params(tmp_path, INTEL, rom="S5000.BIO", board="", command=command))


def test_refusals_say_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"SETUP.EXE \(6 bytes\).*--flasher NAME"):
        planned(params(tmp_path, {"SETUP.EXE": b"MZwin\0", "x9scm2.608": ROM}))
    with pytest.raises(Refused, match="its programs are: AFUDOSU"):
        planned(params(tmp_path / "b", flasher="flash99.exe"))
    with pytest.raises(Refused, match=r"holds no ROM.*S5000.BIO \(5000 bytes\).*--rom NAME"):
        planned(params(tmp_path / "c", INTEL, board=""))


def test_roms_alike_are_one_and_the_flash_line_may_name_it(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"copy/x9scm2.608": ROM}))
    assert plan.detail["rom"] == "X9SCM2.608"
    named = {**KIT, "AMI.bat": b"AFUDOSU.EXE x9scm2.608 /P /B /N /K\r\n", "me.bin": bytes(ROM_SIZE)}
    assert planned(params(tmp_path / "b", named)).detail["rom"] == "X9SCM2.608"


def test_the_other_file_of_a_two_step_package_travels(tmp_path: Path) -> None:
    two = KIT | {"me.bin": bytes(ROM_SIZE), "STEP2.BAT": b"AFUDOSU.EXE me.bin /MEUF\r\n"}
    names = [entry["disc"] for entry in planned(params(tmp_path, two, rom="x9scm2.608")).detail["disc"]["entries"]]
    assert {"ME.BIN", "STEP2.BAT", "X9SCM2.608"} <= set(names)


@pytest.mark.parametrize("outer", ["zip", "folder"])
def test_a_zip_in_the_zip_is_opened(outer: str, tmp_path: Path) -> None:
    held = io.BytesIO()
    with ZipFile(held, "w") as archive:
        for name, content in KIT.items():
            archive.writestr(name, content)
    files = {"BIOS/x9scm2_608.zip": held.getvalue(), "Release notes.pdf": b"%PDF"}
    where = zipped(tmp_path / "outer.zip", files) if outer == "zip" else unpacked(tmp_path / "outer", files)
    kit = firmware.read(where)
    assert (kit.kind, kit.roms[0].name, kit.flasher) == (
        "ami-dos",
        "BIOS/x9scm2_608/x9scm2.608",
        "BIOS/x9scm2_608/AFUDOSU.SMC",
    )
    given = params(tmp_path, firmware=str(where))
    made(given)
    shown = subprocess.run(["isoinfo", "-f", "-i", output(given)], capture_output=True, text=True, check=True).stdout
    assert {"/AFUDOSU.EXE;1", "/X9SCM2.608;1"} <= set(shown.split())


def test_a_package_that_runs_as_it_is_keeps_its_zips_closed(tmp_path: Path) -> None:
    kit = firmware.read(zipped(tmp_path / "a.zip", KIT | {"windows.zip": b"PK no zip at all"}))
    assert "windows.zip" in [file.name for file in kit.members]


def test_a_damaged_zip_in_the_zip_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"bios.zip in .*outer.zip is no zip"):
        firmware.read(zipped(tmp_path / "outer.zip", {"bios.zip": b"PK\x03\x04 cut", "readme.txt": b""}))


def test_a_rom_of_any_name_is_found_by_the_vendors_line_or_by_its_size(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, GIGABYTE, board=""))
    assert plan.detail["rom"] == "MZ31AR0.F10"
    asrock = {"AFUDOS.EXE": FLASHER, "E3C2243.70": ROM, "readme.pdf": bytes(ROM_SIZE)}
    assert planned(params(tmp_path / "b", asrock, board="")).detail["rom"] == "E3C2243.70"
    with pytest.raises(Refused, match="--rom NAME"):
        planned(params(tmp_path / "c", asrock | {"OTHER.71": bytes(2 * ROM_SIZE)}, board=""))


def test_of_roms_alike_the_name_that_tells_the_board_is_taken(tmp_path: Path) -> None:
    assert planned(params(tmp_path, KIT | {"BIOS.ROM": ROM})).detail["rom"] == "X9SCM2.608"


def test_a_flash_bat_that_names_its_rom_is_typed_alone(tmp_path: Path) -> None:
    phoenix = {"PHLASH16.EXE": FLASHER, "BIOS.WPH": ROM, "FLASH.BAT": b"phlash16 /mode=3 /cs BIOS.WPH\r\n"}
    plan = planned(params(tmp_path, phoenix, board=""))
    assert dict(plan.facts)["To type in DOS"].startswith("FLASH (the vendor's way)")
    assert text(plan, "AMI2.BAT") == "phlash16.exe /mode=3 /cs %1\r\n"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"AFUWIN.EXE": FLASHER, "go.bat": b"afuwin x.rom /p\r\n", "x.rom": ROM}, "no DOS flasher"),
        ({"bios.7z": b"7z", "x.rom": ROM}, "unpack bios.7z"),
        ({"X9SCM2_608.exe": b"MZ"}, "if it unpacks itself"),
    ],
)
def test_what_is_no_dos_flasher_is_refused_with_the_way_on(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=words):
        planned(params(tmp_path, files, board=""))


def test_a_zip_beside_a_windows_program_is_opened_and_one_of_a_loop_is_read(tmp_path: Path) -> None:
    held = io.BytesIO()
    with ZipFile(held, "w") as archive:
        for name, content in KIT.items():
            archive.writestr(name, content)
    kit = firmware.read(zipped(tmp_path / "a.zip", {"readme.exe": b"MZ", "BIOS.ZIP": held.getvalue()}))
    assert kit.kind == "ami-dos"
    loop = b"@for %%f in (*.608) do afudosu %%f /P /B /N\r\n"
    line = firmware.read(zipped(tmp_path / "b.zip", KIT | {"AMI.bat": loop})).vendor_line()
    assert line is not None and line.switches == "/P /B /N"
    two = b"if exist a.rom (afudosu a.rom /P /B) else (afudosu b.rom /P /%b)\r\n"
    line = firmware.read(zipped(tmp_path / "c.zip", KIT | {"AMI.bat": two % b"B"})).vendor_line()
    assert line is not None and line.switches == "/P /B"
    assert firmware.read(zipped(tmp_path / "d.zip", KIT | {"AMI.bat": two % b"N"})).vendor_line() is None


BY_CONDITION = b"fdt\r\nif errorlevel 1 goto two\r\n%b %%1 /P\r\ngoto end\r\n:two\r\n%b %%1 /B\r\n:end\r\n"


def test_a_line_that_hangs_on_a_condition_or_a_variable_is_told_and_not_offered(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"AMI.bat": BY_CONDITION % (b"AFUDOSU", b"AFUDOSU")}))
    assert not any("vendor" in option.label for choice in plan.choices for option in choice.options)
    told = "AFUDOSU %1 /P (AMI.bat line 3) or AFUDOSU %1 /B (AMI.bat line 6)"
    assert any(told in warning for warning in plan.warnings), plan.warnings
    assert "line 3" in dict(plan.facts)["Vendor's line"] and "line 6" in dict(plan.facts)["Vendor's line"]
    assert "AFUDOSU %1 /P or, by a condition, AFUDOSU %1 /B" in text(plan, "README.TXT")
    plan = planned(params(tmp_path / "b", KIT | {"AMI.bat": b"AFUDOSU %1 /P /B %2\r\n"}))
    assert not any("vendor" in option.label for choice in plan.choices for option in choice.options)
    assert any("its %2 is known only when the batch runs" in warning for warning in plan.warnings)
    other = {"PHLASH16.EXE": FLASHER, "BIOS.WPH": ROM, "FLASH.BAT": BY_CONDITION % (b"phlash16", b"phlash16")}
    with pytest.raises(Refused, match=r"by a condition: phlash16 %1 /P \(FLASH.BAT line 3\) or phlash16 %1 /B"):
        planned(params(tmp_path / "c", other, board=""))


# ── UEFI ────────────────────────────────────────────────────────────────────────────────────────────

UEFI = {
    "UEFI/flash.nsh": b"AfuEfix64.efi %1 /P\r\n",
    "UEFI/AfuEfix64.efi": b"MZefi",
    "UEFI/X11DPU7.218": ROM,
    "Readme.txt": b"x",
}
CAPSULE = {"MZ72-HB0_R14.CAP": ROM + bytes(2048), "readme.txt": b"use Setup"}


@pytest.mark.parametrize(
    ("files", "typed"),
    [(UEFI, ["cd UEFI", "flash.nsh X11DPU7.218"]), (CAPSULE, ["nothing here runs in a shell", "MZ72-HB0_R14.CAP"])],
    ids=["flash.nsh", "capsule"],
)
def test_a_package_without_dos_becomes_a_fat32_stick(files: dict[str, bytes], typed: list[str], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--form uefi"):
        planned(params(tmp_path, files, board="", rom=""))
    given = params(tmp_path, files, board="", form="uefi", dos="")
    plan = planned(given)
    shown = next(change for change in plan.changes if isinstance(change, TextChange))
    assert shown.target == "disc/startup.nsh" and all(word in (shown.after or "") for word in typed)
    word = made(given)
    image = f"{output(given)}@@1M"
    assert subprocess.run(["fsck.fat", "-n", *_part(output(given), tmp_path)], check=False).returncode == 0
    for name, content in files.items():
        read = subprocess.run(["mtype", "-i", image, f"::{name}"], capture_output=True, check=True).stdout
        assert read == content, name
    volume = pytsk3.FS_Info(pytsk3.Img_Info(str(output(given))), offset=1 << 20)
    assert volume.info.ftype == pytsk3.TSK_FS_TYPE_FAT32
    for name, content in files.items():
        assert volume.open(f"/{name}").read_random(0, len(content)) == content, name
    again = params(tmp_path / "again", files, board="", form="uefi", dos="")
    made(again)
    assert output(again).read_bytes() == output(given).read_bytes(), word


def _part(image: Path, folder: Path) -> list[str]:
    alone = folder / "part.img"
    with image.open("rb") as source, alone.open("wb") as target:
        source.seek(1 << 20)
        shutil.copyfileobj(source, target)
    return [str(alone)]


def test_a_stick_that_reads_back_otherwise_is_not_put_in_place(tmp_path: Path) -> None:
    from engines.biosiso.media import usb
    from engines.biosiso.media.layout import of_text
    from engines.job.errors import Failed

    right, wrong = of_text("A.TXT", "right"), of_text("A.TXT", "wrong")
    for _ in usb.make([right], tmp_path / "stick.img", 0):
        pass
    assert list(usb.check([right], tmp_path / "stick.img"))[-1] == (5, 5)
    with pytest.raises(Failed, match="reads back differently"):
        list(usb.check([wrong], tmp_path / "stick.img"))
    with pytest.raises(Failed, match="is not on the stick"):
        list(usb.check([of_text("B.TXT", "x")], tmp_path / "stick.img"))
