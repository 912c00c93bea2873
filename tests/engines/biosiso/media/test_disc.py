"""A build makes the disc that its plan describes, whole or not at all."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from pathlib import Path

import pytest

from engines.job.contract import (
    BytesChange,
    TextChange,
)
from tests.engines.biosiso.packages import FLASHER, KIT, made, output, params, planned, unpacked, zipped

VENDOR = "/P /B /N /K /R /FDT /MER /OPR"


def on_disc(path: Path, name: str) -> bytes:
    """A file as isoinfo, an independent reader, finds it."""
    return subprocess.run(["isoinfo", "-i", path, "-x", f"/{name};1"], capture_output=True, check=True).stdout


# ── what is on it ───────────────────────────────────────────────────────────────────────────────────


def test_the_disc_holds_what_dos_needs_under_names_that_dos_knows(tmp_path: Path) -> None:
    given = params(tmp_path)
    made(given)
    iso = output(given)
    assert on_disc(iso, "AMI2.BAT") == b"afudosu.exe %1 /FDT /MER /OPR\r\n"
    assert on_disc(iso, "AFUDOSU.EXE") == on_disc(iso, "AFUDOSU.SMC") == FLASHER
    assert on_disc(iso, "X9SCM2.608") == KIT["x9scm2.608"]
    assert on_disc(iso, "AMI.BAT") == KIT["AMI.bat"]
    listed = subprocess.run(["isoinfo", "-i", iso, "-f"], capture_output=True, text=True, check=True).stdout.split()
    assert all(re.fullmatch(r"(/[A-Z0-9_]{1,8})*(/[A-Z0-9_]{1,8}(\.[A-Z0-9_]{0,3})?(;1)?)", name) for name in listed)
    joliet = subprocess.run(["isoinfo", "-J", "-i", iso, "-f"], capture_output=True, text=True, check=True).stdout
    assert "/Readme for AMI BIOS.txt" in joliet
    ridge = subprocess.run(["isoinfo", "-R", "-i", iso, "-f"], capture_output=True, text=True, check=True).stdout
    assert "/x9scm2.608" in ridge


def test_every_text_of_ours_is_ascii_with_crlf_and_flashes_nothing_by_itself(tmp_path: Path) -> None:
    given = params(tmp_path, board="X9SCM-F")
    made(given)
    for name in ("AMI2.BAT", "AUTORUN.BAT", "README.TXT", "MANIFEST.TXT", "ISOLINUX/ISOLINUX.CFG"):
        text = on_disc(output(given), name)
        assert text.isascii()
        assert text.count(b"\n") == text.count(b"\r\n") == text.count(b"\r") > 0
    for line in on_disc(output(given), "AUTORUN.BAT").decode().splitlines():
        assert line.startswith(("@ECHO", "ECHO"))
        assert len(line) < 128  # DOS cuts longer command lines
        assert not re.search(r"[<>|%]", line)
    assert "AMI2 X9SCM2.608" in on_disc(output(given), "AUTORUN.BAT").decode()
    config = on_disc(output(given), "ISOLINUX/ISOLINUX.CFG").decode()
    assert "prompt 0" in config
    assert "localboot" not in config


def test_the_manifest_names_every_file_with_its_sha256_and_who_picked_the_line(tmp_path: Path) -> None:
    given = params(tmp_path, switches=VENDOR)
    made(given)
    manifest = on_disc(output(given), "MANIFEST.TXT").decode()
    rows = re.findall(r"^([0-9a-f]{64}) +(\d+) (\S+)\r$", manifest, re.MULTILINE)
    assert len(rows) >= 10
    for sha256, size, name in rows:
        content = on_disc(output(given), name if "." in name else f"{name}.")
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, int(size))
    assert "picked: vendor\r\n" in manifest
    assert f"command: afudosu.exe %1 {VENDOR}\r\n" in manifest
    assert "the wrong file can destroy the board" in manifest


def test_lf_only_batches_get_crlf_on_the_disc_and_the_plan_shows_it(tmp_path: Path) -> None:
    lf_only = KIT["AMI.bat"].replace(b"\r\n", b"\n")
    given = params(tmp_path, KIT | {"AMI.bat": lf_only})
    changes = {change.target: change for change in planned(given).changes if isinstance(change, TextChange)}
    shown = changes["disc/AMI.BAT"]
    assert shown.before == lf_only.decode()
    assert shown.after is not None
    assert shown.after.replace("^M", "") == shown.before
    made(given)
    assert on_disc(output(given), "AMI.BAT") == KIT["AMI.bat"]


def test_added_files_and_folders_go_on_the_disc(tmp_path: Path) -> None:
    (tmp_path / "eeupdate.exe").write_bytes(b"MZ patch")
    unpacked(tmp_path / "patch-tools", {"sub/run me.bat": b"@echo patch\r\n", "a.txt": b"a"})
    given = params(tmp_path, add=[str(tmp_path / "eeupdate.exe"), str(tmp_path / "patch-tools")])
    made(given)
    assert on_disc(output(given), "EEUPDATE.EXE") == b"MZ patch"
    assert on_disc(output(given), "PATCH_TO/SUB/RUN_ME.BAT") == b"@echo patch\r\n"


def test_a_vendor_readme_does_not_take_the_place_of_ours(tmp_path: Path) -> None:
    given = params(tmp_path, KIT | {"README.TXT": b"vendor\r\n", "ami2.bat": b"format c:\r\n"})
    made(given)
    assert on_disc(output(given), "V_README.TXT") == b"vendor\r\n"
    assert on_disc(output(given), "AMI2.BAT") == b"afudosu.exe %1 /FDT /MER /OPR\r\n"


def test_a_flasher_that_was_renamed_by_hand_is_on_the_disc_once(tmp_path: Path) -> None:
    files = {name: content for name, content in KIT.items() if name != "AFUDOSU.SMC"} | {"AFUDOSU.EXE": FLASHER}
    given = params(tmp_path, files)
    made(given)
    assert on_disc(output(given), "AFUDOSU.EXE") == FLASHER


# ── how it boots ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("form", "entries"), [("cd", ["BIOS"]), ("dual", ["BIOS", "UEFI"])])
def test_independent_readers_find_the_boot_images(form: str, entries: list[str], tmp_path: Path) -> None:
    given = params(tmp_path, form=form)
    made(given)
    told = subprocess.run(
        ["xorriso", "-indev", output(given), "-report_el_torito", "plain"], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"El Torito boot img : +\d+ +(\S+) +y +none", told) == entries
    assert "boot-info-table" in told
    assert re.search(r"El Torito img path : +1 +/isolinux/isolinux.bin", told)
    extracted = subprocess.run(["geteltorito", "-q", output(given)], capture_output=True, check=True).stdout
    assert extracted[:8] == Path("/usr/lib/ISOLINUX/isolinux.bin").read_bytes()[:8]


def test_the_stick_form_is_a_disk_image_too(tmp_path: Path) -> None:
    given = params(tmp_path, form="stick")
    made(given)
    sector = output(given).read_bytes()[:512]
    assert sector[510:] == b"\x55\xaa"
    assert sector[446] == 0x80
    assert output(given).stat().st_size % (1024 * 1024) == 0


@pytest.mark.parametrize("form", ["cd", "stick", "dual"])
def test_the_same_input_gives_the_same_bytes_whenever_and_wherever(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = params(tmp_path, form=form)
    made(given)
    first = output(given).read_bytes()
    output(given).unlink()
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        time.sleep(2.1)  # FAT counts in 2 s
        made(given)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert output(given).read_bytes() == first


def test_source_date_epoch_is_the_time_on_the_disc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    given = params(tmp_path)
    made(given)
    listing = subprocess.run(["isoinfo", "-l", "-i", output(given)], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"[A-Z][a-z]{2} +\d+ \d{4}", listing)) == {"Sep  9 2001"}


def test_building_leaves_the_clock_of_everyone_else_alone(tmp_path: Path) -> None:
    from pycdlib import dates

    made(params(tmp_path))
    assert dates.time is time  # type: ignore[attr-defined]  # what the build put in its place
    assert abs(dates.time.time() - time.time()) < 60  # type: ignore[attr-defined]  # pycdlib does not list its imports


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────


def test_the_review_shows_both_lines_board_and_rom_and_the_warnings(tmp_path: Path) -> None:
    plan = planned(params(tmp_path))
    facts = dict(plan.facts)
    assert facts["Board"] == "X9SCM-F"
    assert facts["ROM"].startswith("x9scm2.608 (262144 bytes, for X9SCM,")
    assert facts["Default line"] == "afudosu.exe %1 /FDT /MER /OPR"
    assert facts["Vendor's line"] == f"AFUDOSU.EXE %1 {VENDOR} (AMI.bat line 3)"
    (choice,) = plan.choices
    assert [option.value for option in choice.options] == ["/FDT /MER /OPR", VENDOR]
    assert choice.chosen == "/FDT /MER /OPR"
    said = "\n".join(plan.warnings)
    for words in ("can destroy the board", "2.00 of X9SCL/X9SCM", "/P /B /N /K", "2021"):
        assert words in said
    own = planned(params(tmp_path, switches="/p /b")).choices[0]
    assert [option.value for option in own.options] == ["/FDT /MER /OPR", VENDOR, "/P /B"]
    assert own.chosen == "/P /B"
    vendor = planned(params(tmp_path, switches=VENDOR))
    assert not any("/P /B /N /K" in warning for warning in vendor.warnings)


def test_a_vendor_line_with_x_is_never_offered(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, KIT | {"AMI.bat": b"AFUDOSU.EXE %1 /P /X\r\n"}))
    assert [option.value for option in plan.choices[0].options] == ["/FDT /MER /OPR"]
    assert any("/X" in warning for warning in plan.warnings)


def test_the_typed_word_is_asked_only_where_a_file_is_there(tmp_path: Path) -> None:
    given = params(tmp_path)
    assert planned(given).confirm == ""
    output(given).write_bytes(b"old")
    plan = planned(given)
    assert plan.confirm == "bios.iso"
    (change,) = (change for change in plan.changes if isinstance(change, BytesChange))
    assert change.before_size == 3


def test_the_digest_follows_every_input_and_no_clock(tmp_path: Path) -> None:
    given = params(tmp_path)
    first = planned(given).digest
    assert planned(given).digest == first
    output(given).write_bytes(b"appeared")
    second = planned(given).digest
    zipped(Path(given["firmware"]), KIT | {"x9scm2.608": KIT["x9scm2.608"][::-1]})
    third = planned(given).digest
    assert len({first, second, third}) == 3
