"""A build makes the disc that its plan describes, whole or not at all."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.biosiso import place
from engines.biosiso.making import Detail
from engines.job.contract import (
    AnyEvent,
    BytesChange,
    Finished,
    Progress,
    RunFailed,
    RunStopped,
    StepStarted,
    TextChange,
)
from engines.job.errors import Refused
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.engines.biosiso.packages import FLASHER, KIT, built, events, params, planned, taken_up, unpacked, zipped

VENDOR = "/P /B /N /K /R /FDT /MER /OPR"


def output(given: dict[str, Any]) -> Path:
    return Path(given["output"])


def made(given: dict[str, Any]) -> Finished:
    _, last = built(given)
    assert isinstance(last, Finished), last
    return last


def on_disc(path: Path, name: str) -> bytes:
    """A file as isoinfo, an independent reader, finds it."""
    return subprocess.run(["isoinfo", "-i", path, "-x", f"/{name};1"], capture_output=True, check=True).stdout


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


# ── whole or not at all ─────────────────────────────────────────────────────────────────────────────


def at(kind: Callable[[AnyEvent], bool], act: Callable[[], object]) -> Callable[[Entry], None]:
    """A listener that acts once, at the first event of a kind."""
    waiting = [act]

    def listen(entry: Entry) -> None:
        if waiting and kind(entry.event):
            waiting.pop()()

    return listen


def starts(step: str) -> Callable[[AnyEvent], bool]:
    return lambda event: isinstance(event, StepStarted) and event.step == step


@pytest.mark.parametrize("step", ["write", "verify"])
@pytest.mark.parametrize("before", [None, b"the old disc"])
def test_a_stopped_build_leaves_the_output_as_it_was(step: str, before: bytes | None, tmp_path: Path) -> None:
    given = params(tmp_path)
    if before is not None:
        output(given).write_bytes(before)
    stop = Stop()
    _, last = built(given, stop, at(starts(step), stop.ask))
    assert isinstance(last, RunStopped)
    assert left_in(tmp_path / "out") == (["bios.iso"] if before is not None else [])
    assert before is None or output(given).read_bytes() == before


def test_a_stop_while_it_writes_is_obeyed_within_a_moment(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(300 * 1024 * 1024))
    given = params(tmp_path, add=[str(tmp_path / "large.bin")])
    stop = Stop()
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        stop.ask()

    _, last = built(given, stop, at(lambda event: isinstance(event, Progress), ask))
    assert isinstance(last, RunStopped)
    assert asked
    assert left_in(tmp_path / "out") == []


def test_a_source_that_changes_meanwhile_fails_the_build_and_is_named(tmp_path: Path) -> None:
    given = params(tmp_path, firmware=str(unpacked(tmp_path / "kit", KIT)))
    rom = tmp_path / "kit" / "x9scm2.608"
    _, last = built(given, listen=at(starts("write"), lambda: rom.write_bytes(rom.read_bytes()[::-1])))
    assert isinstance(last, RunFailed)
    assert str(rom) in last.why
    assert "changed" in last.why
    assert left_in(tmp_path / "out") == []


def test_a_source_that_becomes_shorter_is_not_filled_with_zeros(tmp_path: Path) -> None:
    given = params(tmp_path, firmware=str(unpacked(tmp_path / "kit", KIT)))
    rom = tmp_path / "kit" / "x9scm2.608"
    _, last = built(given, listen=at(starts("write"), lambda: rom.write_bytes(rom.read_bytes()[:-5])))
    assert isinstance(last, RunFailed)
    assert "shorter" in last.why
    assert left_in(tmp_path / "out") == []


def test_a_source_that_is_gone_fails_the_build_in_a_sentence(tmp_path: Path) -> None:
    given = params(tmp_path)
    _, last = built(given, listen=at(starts("write"), Path(given["firmware"]).unlink))
    assert isinstance(last, RunFailed)
    assert "cannot be read" in last.why
    assert not last.why.startswith("unexpected")


def test_a_disc_that_is_damaged_before_it_is_read_back_is_not_put_in_place(tmp_path: Path) -> None:
    given = params(tmp_path)

    def damage() -> None:
        (disc,) = (tmp_path / "out").glob(".bios.iso.crashcart-*.partial")
        raw = bytearray(disc.read_bytes())
        raw[raw.index(KIT["x9scm2.608"][:64]) + 5000] ^= 1
        disc.write_bytes(raw)

    _, last = built(given, listen=at(starts("verify"), damage))
    assert isinstance(last, RunFailed)
    assert "X9SCM2.608 reads back differently" in last.why
    assert left_in(tmp_path / "out") == []


def test_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    given = params(tmp_path)
    _, last = built(given, listen=at(starts("verify"), lambda: output(given).write_bytes(b"someone's")))
    assert isinstance(last, RunFailed)
    assert "changed while" in last.why
    assert output(given).read_bytes() == b"someone's"
    assert left_in(tmp_path / "out") == ["bios.iso"]


def test_a_disk_that_fills_up_while_it_writes_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "crashcart-test", small], check=True)
    try:
        given = params(tmp_path, output=str(small / "bios.iso"))
        fill = at(starts("write"), lambda: (small / "other").write_bytes(bytes(7 * 1024 * 1024)))
        _, last = built(given, listen=fill)
        assert isinstance(last, RunFailed)
        assert "No space left" in last.why
        assert left_in(small) == ["other"]
    finally:
        subprocess.run(["umount", small], check=True)


# ── undo and resume ─────────────────────────────────────────────────────────────────────────────────


def test_undo_brings_the_old_file_back_with_its_time_and_mode(tmp_path: Path) -> None:
    given = params(tmp_path)
    output(given).write_bytes(b"the old disc")
    output(given).chmod(0o640)
    before = output(given).stat()
    run, last = built(given)
    assert isinstance(last, Finished)
    assert Path(last.result["before"]).read_bytes() == b"the old disc"
    _, undone = taken_up(run, "undo")
    assert isinstance(undone, Finished), undone
    after = output(given).stat()
    assert output(given).read_bytes() == b"the old disc"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert left_in(tmp_path / "out") == ["bios.iso"]


def test_undo_refuses_where_the_disc_was_changed_since(tmp_path: Path) -> None:
    given = params(tmp_path)
    run, _ = built(given)
    output(given).write_bytes(b"another disc")
    _, undone = taken_up(run, "undo")
    assert isinstance(undone, RunFailed)
    assert "no longer the disc of that run" in undone.why
    assert output(given).read_bytes() == b"another disc"


def test_undo_of_an_undone_run_finds_nothing_to_do(tmp_path: Path) -> None:
    given = params(tmp_path)
    run, _ = built(given)
    taken_up(run, "undo")
    _, again = taken_up(run, "undo")
    assert isinstance(again, Finished)
    assert left_in(tmp_path / "out") == []


def test_resume_of_a_finished_run_does_it_no_second_time(tmp_path: Path) -> None:
    given = params(tmp_path)
    run, _ = built(given)
    identity = place.identity(output(given))
    again, last = taken_up(run, "resume")
    assert isinstance(last, Finished)
    assert place.identity(output(given)) == identity
    _, undone = taken_up(again, "undo")
    assert isinstance(undone, Finished)
    assert left_in(tmp_path / "out") == []


def test_half_written_discs_of_killed_runs_are_swept_and_nothing_else_is(tmp_path: Path) -> None:
    given = params(tmp_path)
    half = place.partial(output(given), "20200101T000000Z-biosiso-bios.iso")
    for leftover in (half, half.with_name(f"{half.name}-fat"), half.with_name(f"{half.name}-probe")):
        leftover.write_bytes(b"half")
    others = ("bios.iso2", ".other.iso.crashcart-x.partial", ".bios.iso.crashcart-x.before")
    for name in others:
        (tmp_path / "out" / name).write_bytes(b"kept")
    run, last = built(given)
    assert isinstance(last, Finished)
    assert left_in(tmp_path / "out") == sorted([*others, "bios.iso"])
    assert sum("left by a run that was killed" in getattr(event, "text", "") for event in events(run)) == 3


def test_a_link_as_output_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    given = params(tmp_path)
    (tmp_path / "link.iso").symlink_to(output(given))
    made(given | {"output": str(tmp_path / "link.iso")})
    assert (tmp_path / "link.iso").is_symlink()
    assert output(given).stat().st_size > 0


def test_the_report_ends_with_power_ac_and_defaults(tmp_path: Path) -> None:
    then = " ".join(made(params(tmp_path)).then)
    assert re.search(r"power steady.*AC off.*load defaults", then)


def test_a_plan_survives_its_way_through_json(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, form="stick"))
    again = msgspec.json.decode(msgspec.json.encode(plan), type=type(plan))
    assert msgspec.convert(again.detail, Detail) == msgspec.convert(plan.detail, Detail)


def test_a_package_that_is_a_zip_in_name_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bios.zip").write_bytes(b"<html>404</html>")
    assert not zipfile.is_zipfile(tmp_path / "bios.zip")
    with pytest.raises(Refused, match="no zip"):
        planned(params(tmp_path, firmware=str(tmp_path / "bios.zip")))
