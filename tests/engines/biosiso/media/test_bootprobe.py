"""The boot probe and the stand-in flasher: real discs, booted in QEMU and, for the flasher, run in DOSBox."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pycdlib
import pytest

from engines.biosiso.media import bootprobe
from engines.biosiso.media.bootprobe import ProbeFile, ProbeMedia, ProbeReport, assemble, parse
from engines.boot import dos, screen
from engines.boot.accel import Accelerator
from engines.boot.machine import Machine
from engines.boot.media import Disc, Disk, Hardware
from engines.job.errors import Refused

pytestmark = pytest.mark.boot

TCG = Accelerator("tcg", "the tests' choice")
ROM = random.Random(608).randbytes(8 << 20)  # the size of an X9 board's flash chip
AMI2 = b"@echo off\r\necho Flash %1\r\ngoto flash\r\necho never\r\n:flash\r\nafudosu.exe %1 /FDT /MER /OPR\r\n"
LF_ONLY = b"@echo off\necho two lines\n"
LOOPING = b":again\r\ngoto again\r\n"
LOADERS = {
    "ISOLINUX.BIN": Path("/usr/lib/ISOLINUX/isolinux.bin"),
    "LDLINUX.C32": Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    "MEMDISK": Path("/usr/lib/syslinux/memdisk"),
}
CONFIG = b"default dos\nprompt 0\ntimeout 1\nlabel dos\n kernel memdisk\n append initrd=btdsk.img\n"


def total(content: bytes) -> int:
    return sum(content) & 0xFFFFFFFF


class Builder:
    """One ISO 9660 level 1 disc."""

    def __init__(self) -> None:
        self.iso = pycdlib.PyCdlib()
        self.iso.new(interchange_level=1, vol_ident="X9SCM_608")
        self.open: list[io.BytesIO] = []

    def add(self, name: str, content: bytes) -> None:
        self.open.append(io.BytesIO(content))
        self.iso.add_fp(self.open[-1], len(content), iso_path=f"/{name};1")

    def write(self, path: Path) -> Path:
        self.iso.write(str(path))
        self.iso.close()
        return path


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> ProbeMedia:
    return assemble(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def content(media: ProbeMedia) -> dict[str, bytes]:
    return {
        "AFUDOSU.EXE": media.flasher.read_bytes(),
        "AMI2.BAT": AMI2,
        "LF.BAT": LF_ONLY,
        "LOOP.BAT": LOOPING,
        "X9SCM2.608": ROM,
        "EMPTY.TXT": b"",
    }


def isolinux(content: dict[str, bytes], floppy: Path, path: Path, *, hybrid: bool = False) -> Path:
    builder = Builder()
    for name, body in content.items():
        builder.add(name, body)
    builder.iso.add_directory("/ISOLINUX")
    for name, source in LOADERS.items():
        builder.add(f"ISOLINUX/{name}", source.read_bytes())
    builder.add("ISOLINUX/ISOLINUX.CFG", CONFIG)
    builder.add("ISOLINUX/BTDSK.IMG", floppy.read_bytes())
    builder.iso.add_eltorito(
        "/ISOLINUX/ISOLINUX.BIN;1", bootcatfile="/BOOT.CAT;1", boot_load_size=4, boot_info_table=True
    )
    if hybrid:
        builder.iso.add_isohybrid()
    return builder.write(path)


@pytest.fixture(scope="module")
def disc(media: ProbeMedia, content: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return isolinux(content, media.floppy, tmp_path_factory.mktemp("disc") / "x9scm.iso")


@pytest.fixture(scope="module", params=["ide", "usb", "ahci"])
def booted(disc: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    bus: Literal["ide", "usb", "ahci"] = request.param
    with Machine(Hardware((Disc(disc, bus),), debug_exit=True), accelerator=TCG) as machine:
        yield machine


def reported(machine: Machine) -> ProbeReport:
    seen = machine.wait_for(bootprobe.ENDED, where="serial", deadline=120)
    assert seen.found, (seen, machine.screen())
    return parse(machine.serial())


# ── what a booted disc shows ────────────────────────────────────────────────────────────────────────


def test_the_report_is_what_lies_on_the_disc(booted: Machine, content: dict[str, bytes]) -> None:
    report = reported(booted)
    assert report.complete
    assert report.root_whole
    assert report.cd is not None
    assert report.cd >= 0x80
    assert report.volume == "X9SCM_608"
    assert report.folders == ("ISOLINUX",)
    told = {found.name: found for found in report.files if found.name != "BOOT.CAT"}
    assert told == {name: ProbeFile(name, len(body), total(body)) for name, body in content.items()}
    assert report.file("x9scm2.608") == told["X9SCM2.608"]
    assert report.batches["AMI2.BAT"] == tuple(AMI2.decode().splitlines())
    assert report.bare_lf == {"LF.BAT"}


def test_a_session_is_rehearsed_at_the_prompt(booted: Machine, content: dict[str, bytes]) -> None:
    reported(booted)
    assert dos.wait_for_prompt(booted).found
    listed = dos.command(booted, "dir")
    assert listed.found
    assert f"X9SCM2   608 {len(ROM):>12}" in listed.lines
    assert dos.command(booted, "ver").lines == ("crashcart boot probe 1. This is not DOS.",)
    flashed = dos.command(booted, "ami2.bat x9scm2.608", deadline=120)
    assert flashed.lines == (
        "Flash x9scm2.608",
        "PROBE RUNS: afudosu.exe x9scm2.608 /FDT /MER /OPR",
        "AFUSTUB ARGS=[ x9scm2.608 /FDT /MER /OPR]",
        f"SIZE={len(ROM):08X} SUM={total(ROM):08X}",
    )
    assert flashed.lines[-1].encode() in booted.serial()


def test_wrong_words_get_a_dos_like_answer_and_exit_ends_the_machine(disc: Path) -> None:
    with Machine(Hardware((Disc(disc, "usb"),), debug_exit=True), accelerator=TCG) as machine:
        assert dos.wait_for_prompt(machine).found
        assert dos.command(machine, "ami2 none.rom").lines[-1] == "OPEN FAILED"
        assert dos.command(machine, "nothing").lines == ('Bad command or filename - "NOTHING".',)
        assert dos.command(machine, "x9scm2.608").lines == ('Bad command or filename - "X9SCM2.608".',)
        assert dos.command(machine, "loop").lines == ("PROBE: this batch does not end",)
        with pytest.raises(ValueError, match="allowed are 1 to 70"):
            dos.command(machine, "x" * 71)
        assert dos.command(machine, "exit").how == "exited"
        assert machine.exit_status == 2 * 0x10 + 1


def test_a_lost_rename_of_the_flasher_shows(media: ProbeMedia, tmp_path: Path) -> None:
    """The seed's easily lost step: the vendor ships AFUDOSU.SMC."""
    lost = {"AFUDOSU.SMC": media.flasher.read_bytes(), "AMI2.BAT": AMI2, "X9SCM2.608": ROM[:512]}
    with Machine(Hardware((Disc(isolinux(lost, media.floppy, tmp_path / "x.iso")),)), accelerator=TCG) as machine:
        assert dos.wait_for_prompt(machine).found
        answer = dos.command(machine, "ami2.bat x9scm2.608")
    assert answer.lines[-1] == 'Bad command or filename - "AFUDOSU.EXE".'


# ── discs that DOS could not read ───────────────────────────────────────────────────────────────────


def test_floppy_emulation_starts_and_reaches_no_cd(media: ProbeMedia, tmp_path: Path) -> None:
    builder = Builder()
    builder.add("AMI2.BAT", AMI2)
    builder.add("BTDSK.IMG", media.floppy.read_bytes())
    builder.iso.add_eltorito("/BTDSK.IMG;1", bootcatfile="/BOOT.CAT;1", media_name="floppy")
    emulated = builder.write(tmp_path / "floppy.iso")
    with Machine(Hardware((Disc(emulated),)), accelerator=TCG) as machine:
        report = reported(machine)
    assert report == ProbeReport(started=True, complete=True)


def test_a_hybrid_disc_on_a_stick_starts_and_reaches_no_cd(media: ProbeMedia, tmp_path: Path) -> None:
    stick = isolinux({"AMI2.BAT": AMI2}, media.floppy, tmp_path / "hybrid.iso", hybrid=True)
    with Machine(Hardware((Disk(stick, bus="usb"),)), accelerator=TCG) as machine:
        report = reported(machine)
    assert report == ProbeReport(started=True, complete=True)


# ── reading a report ────────────────────────────────────────────────────────────────────────────────


def test_a_report_cut_anywhere_gives_only_what_was_told(booted: Machine) -> None:
    whole = reported(booted)
    told = booted.serial().partition(b"\r\nend\r\n")[0] + b"\r\nend\r\n"
    assert parse(told) == whole
    for length in range(len(told) - 1):
        cut = parse(told[:length])
        assert not cut.complete
        assert cut.files == whole.files[: len(cut.files)]
        assert cut.volume in ("", whole.volume)
        assert all(lines == whole.batches[name][: len(lines)] for name, lines in cut.batches.items())


@pytest.mark.parametrize("left_out", range(6))
def test_what_the_boot_waits_for_is_there_no_sooner_than_the_report_is_whole(left_out: int) -> None:
    told = b"CRASHCART-PROBE 1\r\ncd=E0\r\nend\r\n"
    told = told[: len(told) - left_out]
    assert bool(re.search(bootprobe.ENDED, screen.plain(told.decode()), re.MULTILINE)) == parse(told).complete


def test_noise_on_the_line_is_no_report_and_no_error() -> None:
    noise = random.Random(9600)
    for _ in range(300):
        parse(b"CRASHCART-PROBE 1\r\n" + noise.randbytes(400))
    assert parse(noise.randbytes(4000)) == ProbeReport()
    assert parse(b"") == ProbeReport()
    hostile = b"CRASHCART-PROBE 1\ncd=ZZ\nfile  size= sum= flags=\nbat> orphan\nroot=incomplete\nend\n"
    assert parse(hostile) == ProbeReport(started=True, root_whole=False, complete=True)


def test_the_last_of_two_reports_counts() -> None:
    first, second = b"\nCRASHCART-PROBE 1\ncd=E0\nend\n", b"\nCRASHCART-PROBE 1\ncd=E1\nend\n"
    assert parse(first + second).cd == 0xE1


# ── assembling ──────────────────────────────────────────────────────────────────────────────────────


def test_without_nasm_the_refusal_names_the_command_that_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="apt-get install nasm"):
        assemble(tmp_path / "media")


def test_assembling_again_gives_the_same_bytes_and_leaves_no_drafts(media: ProbeMedia, tmp_path: Path) -> None:
    for _ in range(2):
        again = assemble(tmp_path)
    assert again.floppy.read_bytes() == media.floppy.read_bytes()
    assert again.flasher.read_bytes() == media.flasher.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AFUDOSU.EXE", "BTDSK.IMG"]
    assert again.floppy.stat().st_size == 1474560


def test_without_a_folder_the_media_go_to_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assemble().floppy == tmp_path / "crashcart" / "probe" / "BTDSK.IMG"


# ── the stand-in flasher under a DOS ────────────────────────────────────────────────────────────────


@pytest.fixture
def under_dosbox(media: ProbeMedia, tmp_path: Path) -> Callable[[str], str]:
    """Run one command line in DOSBox and return what came over COM1."""

    def run(line: str) -> str:
        folder = tmp_path / "c"
        folder.mkdir()
        shutil.copyfile(media.flasher, folder / "AFUDOSU.EXE")
        (folder / "ROM.608").write_bytes(ROM[:100_001])
        with socket.create_server(("127.0.0.1", 0)) as line_in:
            port = line_in.getsockname()[1]
            config = tmp_path / "dosbox.conf"
            config.write_text(
                f"[serial]\nserial1=nullmodem server:127.0.0.1 port:{port} transparent:1\n"
                f'[autoexec]\nmount c "{folder}"\nc:\n{line}\nexit\n'
            )
            return heard(config, line_in)

    return run


def heard(config: Path, line_in: socket.socket) -> str:
    quiet = {**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "HOME": str(config.parent)}
    box = subprocess.Popen(
        ["dosbox", "-conf", str(config)],
        env=quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        line_in.settimeout(120)
        peer, _ = line_in.accept()
        with peer:
            peer.settimeout(120)
            return b"".join(iter(lambda: peer.recv(4096), b"")).decode("cp437")
    finally:
        box.kill()
        box.wait()


def test_the_flasher_names_its_arguments_and_sums_its_file_under_a_dos(under_dosbox: Callable[[str], str]) -> None:
    said = under_dosbox("afudosu.exe rom.608 /FDT /MER /OPR")
    assert "AFUSTUB ARGS=[ rom.608 /FDT /MER /OPR]\r\n" in said
    assert f"SIZE={100_001:08X} SUM={total(ROM[:100_001]):08X}\r\n" in said


def test_the_flasher_says_when_its_file_is_not_there(under_dosbox: Callable[[str], str]) -> None:
    assert "AFUSTUB ARGS=[ none.608 /FDT]\r\nOPEN FAILED\r\n" in under_dosbox("afudosu.exe none.608 /FDT")


def test_the_sources_lie_beside_the_package() -> None:
    assert {path.name for path in bootprobe.SOURCES.glob("*.asm")} == set(bootprobe.ASSEMBLED.values())
