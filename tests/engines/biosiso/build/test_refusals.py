"""Wrong inputs are refused before anything is written, each with its next action."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engines.biosiso.vendor import dos
from engines.job.errors import Refused
from tests.engines.biosiso.packages import (
    FLASH_BAT,
    KIT,
    ROM_SIZE,
    floppy,
    freedos_like,
    made,
    params,
    planned,
    unpacked,
    zipped,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(given: dict[str, Any]) -> Refused:
    folder = Path(given["output"]).parent
    before = contents(folder) if folder.is_dir() else {}
    with pytest.raises(Refused) as caught:
        planned(given)
    assert (contents(folder) if folder.is_dir() else {}) == before
    assert caught.value.why
    assert caught.value.what_helps
    return caught.value


def without(*names: str) -> dict[str, bytes]:
    return {name: content for name, content in KIT.items() if name not in names}


KITS: dict[str, tuple[Mapping[str, bytes], dict[str, Any], str]] = {
    "two names equal in 8.3": (
        KIT | {"Readme for board.txt": b"x"},
        {},
        "Readme for AMI BIOS.txt of the firmware and Readme for board.txt of the firmware",
    ),
    "more than one ROM": (KIT | {"x9scm2.703": bytes(ROM_SIZE)}, {}, "2 ROMs: x9scm2.608, x9scm2.703"),
    "a ROM that is not there": (KIT, {"rom": "x9scm2.703"}, "'x9scm2.703' is not in"),
    "no ROM": (without("x9scm2.608"), {}, "holds no ROM"),
    "a ROM of length zero": (KIT | {"x9scm2.608": b""}, {}, "length zero"),
    "a ROM cut short": (KIT | {"x9scm2.608": bytes(ROM_SIZE - 1)}, {}, "no power of two"),
    "a ROM too small": (KIT | {"x9scm2.608": bytes(ROM_SIZE // 2)}, {}, "no power of two"),
    "a board whose name only begins alike": (KIT, {"board": "X9SCM-iiF"}, "does not match board X9SCM-iiF"),
    "a board with another ROM": (KIT, {"board": "X8DTU"}, "board X8DTU takes ROMs named x8dtu"),
    "a board that is in no list": (
        without("x9scm2.608") | {"x11abc2.608": KIT["x9scm2.608"]},
        {"board": "X11ABC"},
        "board is 'X11ABC'",
    ),
    "FLASH.BAT on a CD": (KIT | {"FLASH.BAT": FLASH_BAT.encode()}, {}, "--form stick"),
    "flash.nsh on a disc for UEFI": (
        KIT | {"flash.nsh": b"echo x > startup.nsh\r\nreset\r\n"},
        {"form": "dual"},
        "--form stick",
    ),
    "UEFI only": ({"UEFI/flash.nsh": b"x", "x9scm2.608": KIT["x9scm2.608"]}, {}, "not for this board generation"),
    "neither flasher nor batch": ({"x9scm2.608": KIT["x9scm2.608"]}, {}, "not for this board generation"),
    "a batch without its flasher": (without("AFUDOSU.SMC"), {}, "no AFUDOSU.SMC"),
    "/X among the switches": (KIT, {"switches": "/P /x"}, "/X flashes without comparing"),
    "a pipe among the switches": (KIT, {"switches": "/P | del *.*"}, "'|' is no switch"),
    "no switch at all": (KIT, {"switches": " "}, "switches"),
    "a missing --add": (KIT, {"add": ["/nowhere/patch.exe"]}, "/nowhere/patch.exe does not exist"),
}


@pytest.mark.parametrize("name", KITS)
def test_a_wrong_package_or_choice_is_refused(name: str, tmp_path: Path) -> None:
    files, given, words = KITS[name]
    error = refused(params(tmp_path, files, **given))
    assert words in str(error)


def test_the_stick_form_takes_the_flash_bat_that_a_cd_does_not(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"FLASH.BAT": FLASH_BAT.encode()}, form="stick"))
    assert any("run it again after the reboot" in warning for warning in plan.warnings)


def test_one_of_two_roms_is_picked_by_name_and_the_other_stays_off(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"x9scm2.703": KIT["x9scm2.608"]}, rom="X9SCM2.703"))
    names = [entry["disc"] for entry in plan.detail["disc"]["entries"]]
    assert "X9SCM2.703" in names
    assert "X9SCM2.608" not in names
    assert ("Left off", "x9scm2.608") in plan.facts


def test_a_board_in_no_list_is_taken_once_it_is_ticked_and_the_plan_says_so(tmp_path: Path) -> None:
    files = without("x9scm2.608") | {"x11abc2.608": KIT["x9scm2.608"]}
    plan = planned(params(tmp_path, files, board="X11ABC", board_checked=True))
    assert any("checked by hand" in warning for warning in plan.warnings)


def test_the_lists_refusal_cannot_be_ticked_away(tmp_path: Path) -> None:
    refused(params(tmp_path, board="X9SCM-iiF", board_checked=True))


def no_folder(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"output": str(folder / "nowhere" / "bios.iso")}


def a_folder(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"output": str(folder / "out")}


def a_device(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"output": "/dev/null"}


def the_firmware(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"output": given["firmware"]}


def the_dos_by_another_name(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    os.link(given["dos"], folder / "out" / "other.iso")
    return {"output": str(folder / "out" / "other.iso")}


def inside_the_firmware(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"firmware": str(unpacked(folder / "kit", KIT)), "output": str(folder / "kit" / "bios.iso")}


def a_name_too_long(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"output": str(folder / "out" / ("b" * 121))}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (no_folder, "does not exist"),
        (a_folder, "is a folder"),
        (a_device, "no plain file"),
        (the_firmware, "input"),
        (the_dos_by_another_name, "is the input"),
        (inside_the_firmware, "lies in the input"),
        (a_name_too_long, "at most 120 bytes"),
    ],
)
def test_a_wrong_output_is_refused(
    wrong: Callable[[Path, dict[str, Any]], dict[str, Any]], words: str, tmp_path: Path
) -> None:
    given = params(tmp_path)
    assert words in str(refused(given | wrong(tmp_path, given)))


def test_a_folder_that_cannot_be_written_is_refused(open_folder: Path) -> None:
    """Root may write anywhere: the plan is made by nobody."""
    given = params(open_folder)
    code = (
        "import json, os, sys\n"
        "from engines.job.errors import Refused\n"
        "from tests.engines.biosiso.packages import planned\n"
        "given = json.loads(sys.argv[1])\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    planned(given)\nexcept Refused as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(given)], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "crashcart-test", place], check=True)
    try:
        assert "bytes free" in str(refused(params(tmp_path, output=str(place / "bios.iso"))))
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("epoch", ["yesterday", "-1", "99999999999"])
def test_a_source_date_epoch_that_is_none_is_refused(
    epoch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert "SOURCE_DATE_EPOCH" in str(refused(params(tmp_path)))


def test_a_package_that_is_a_zip_in_name_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bios.zip").write_bytes(b"<html>404</html>")
    assert not zipfile.is_zipfile(tmp_path / "bios.zip")
    with pytest.raises(Refused, match="no zip"):
        planned(params(tmp_path, firmware=str(tmp_path / "bios.zip")))


# ── the DOS ─────────────────────────────────────────────────────────────────────────────────────────


def dos_refused(path: Path) -> str:
    with pytest.raises(Refused) as caught:
        dos.read(path)
    return str(caught.value)


def test_a_missing_dos_is_refused_with_where_to_get_one(tmp_path: Path) -> None:
    assert "fdos.org" in dos_refused(tmp_path / "nowhere")
    assert "fdos.org" in dos_refused(unpacked(tmp_path / "folder", {"CDROOT/readme": b""}))


def test_a_dos_that_is_no_floppy_or_no_dos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.img").write_bytes(bytes(1000))
    (tmp_path / "blank.img").write_bytes(bytes(1474560))
    assert "1000 bytes" in dos_refused(tmp_path / "odd.img")
    assert "no FAT floppy image" in dos_refused(tmp_path / "blank.img")
    assert "no KERNEL.SYS and no COMMAND.COM" in dos_refused(floppy(tmp_path / "data.img", {"A.TXT": b"a"}))


@pytest.mark.parametrize(
    ("drivers", "words"),
    [
        ({"XCDROM.SYS": b"x", "SHSUCDX.COM": b"x"}, "misses a BMC's USB CD"),
        ({}, "no CD driver"),
        ({"ELTORITO.SYS": b"x"}, "no SHSUCDX"),
    ],
)
def test_a_dos_that_cannot_see_the_disc_is_refused(drivers: dict[str, bytes], words: str, tmp_path: Path) -> None:
    files = {"KERNEL.SYS": b"k", "COMMAND.COM": b"c", **drivers}
    assert words in dos_refused(floppy(tmp_path / "dos.img", files))


def test_a_dos_that_may_not_start_the_disc_is_warned_of(tmp_path: Path) -> None:
    files = freedos_like() | {"CONFIG.SYS": b"FILES=20\r\n", "AUTOEXEC.BAT": b"VER\r\n"}
    warnings = dos.read(floppy(tmp_path / "dos.img", files)).warnings
    assert ["CONFIG.SYS does not load it" in warnings[0], "AUTORUN.BAT" in warnings[1]] == [True, True]


@pytest.mark.parametrize("top", ["", "FDOEMCD.builder/"])
def test_an_fdoemcd_builder_folder_is_found_whatever_its_case(top: str, tmp_path: Path) -> None:
    image = floppy(tmp_path / "btdsk.img", freedos_like(), 360).read_bytes()
    folder = unpacked(
        tmp_path / "builder",
        {f"{top}CDROOT/isolinux/BTDSK.IMG": image, f"{top}CDROOT/AUTORUN.BAT": b"", f"{top}CDBTDSK/KERNEL.SYS": b"k"},
    )
    found = dos.read(folder)
    assert (found.kind, found.size, found.warnings) == ("builder", 368640, ())


def test_files_in_the_builders_cdroot_are_said_to_stay_off(tmp_path: Path) -> None:
    image = floppy(tmp_path / "btdsk.img", freedos_like(), 360).read_bytes()
    folder = unpacked(tmp_path / "b", {"CDROOT/isolinux/BTDSK.IMG": image, "CDROOT/mine.exe": b"x"})
    assert "mine.exe" in dos.read(folder).warnings[0]


def test_a_zip_that_is_not_the_builders_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    said = dos_refused(zipped(tmp_path / "FDOEMCD.builder.zip", {"CDROOT/x": b"x"}))
    assert "no floppy image" in said and "CDROOT/x" in said


@pytest.mark.parametrize("form", ["cd", "stick"])
def test_the_builders_zip_is_taken_as_it_was_downloaded(form: str, tmp_path: Path) -> None:
    image = floppy(tmp_path / "btdsk.img", freedos_like()).read_bytes()
    builder = zipped(tmp_path / "FDOEMCD.builder.zip", {"FDOEMCD/CDROOT/isolinux/BTDSK.IMG": image})
    found = dos.read(builder)
    assert (found.kind, found.size, found.content()) == ("builder", len(image), image)
    made(params(tmp_path, dos=str(builder), form=form))
