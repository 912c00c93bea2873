"""Finished discs boot, and one that does not is not put in place."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from engines.biosiso.build.boottest import FLASH_WITHIN, patience
from engines.biosiso.build.build import Build
from engines.boot.machine import Machine
from engines.boot.media import Disc, Disk, Hardware
from engines.job import runs
from engines.job.contract import Finished, RunFailed, RunStopped, StepStarted
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.perform import Stop, perform
from engines.job.report import gather, markdown
from engines.rehearsal import firmware
from tests.agreed import AGREED
from tests.engines.biosiso.packages import HERE, KIT, built, floppy, freedos_like, params

pytestmark = pytest.mark.boot
RESET = b"\xb0\xfe\xe6\x64\xf4"  # mov al, 0FEh; out 64h, al; hlt: the keyboard controller resets the machine


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> tuple[runs.Run, Finished]:
    """The rehearsal's disc in its dual form: IDE, USB and UEFI."""
    folder = tmp_path_factory.mktemp("rehearsal")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    given = firmware.make(folder) | {"form": "dual"}
    run = runs.create(Job(task="biosiso", params=given), given["output"])
    last = perform(run, Build(), confirm=AGREED)
    assert isinstance(last, Finished), last
    return run, last


def test_dos_sees_names_bytes_and_batch_from_an_ide_and_a_usb_cd(rehearsed: tuple[runs.Run, Finished]) -> None:
    texts = {section.title: section.text for section in rehearsed[1].sections if section.text}
    total = sum(firmware.noise(firmware.ROM_SIZE)) & 0xFFFFFFFF
    for bus in ("IDE CD", "USB CD"):
        assert "AFUSTUB ARGS=[ X9SCM2.608 /FDT /MER /OPR]" in texts[f"Booted as {bus}"]
        assert f"SIZE={firmware.ROM_SIZE:08X} SUM={total:08X}" in texts[f"Booted as {bus}"]


def test_the_patience_with_a_flasher_grows_with_the_rom() -> None:
    waits = [patience(FLASH_WITHIN, mib << 20) - FLASH_WITHIN for mib in (0, 8, 32, 64)]
    assert waits == [0.0, 64.0, 256.0, 512.0]


@pytest.mark.soak
@pytest.mark.parametrize("size", [32 << 20, 64 << 20], ids=["32 MiB", "64 MiB"])
def test_a_large_rom_reaches_the_flasher_too(tmp_path: Path, size: int) -> None:
    given = firmware.make(tmp_path)
    content = firmware.noise(size)
    with ZipFile(given["firmware"]) as archive:
        others = {name: archive.read(name) for name in archive.namelist() if name != firmware.ROM}
    with ZipFile(given["firmware"], "w") as archive:
        for name, held in {**others, firmware.ROM: content}.items():
            archive.writestr(ZipInfo(name, firmware.PACKED), held)
    _, last = built(given)
    assert isinstance(last, Finished), last
    texts = {section.title: section.text for section in last.sections}
    for bus in ("IDE CD", "USB CD"):
        assert f"SIZE={size:08X} SUM={sum(content) & 0xFFFFFFFF:08X}" in texts[f"Booted as {bus}"]


def test_a_uefi_shell_starts_the_disc_and_flashes_nothing(rehearsed: tuple[runs.Run, Finished]) -> None:
    text = next(section.text for section in rehearsed[1].sections if section.title == "Booted as UEFI CD")
    assert "CRASHCART-UEFI: nothing is flashed yet" in text


def test_the_report_shows_the_screens(rehearsed: tuple[runs.Run, Finished]) -> None:
    run = rehearsed[0]
    pictures = re.findall(r"!\[[^]]*\]\((boot-[a-z-]+\.png)\)", markdown(gather(run)))
    assert pictures == ["boot-ide-cd.png", "boot-usb-cd.png", "boot-uefi-cd.png"]
    for picture in pictures:
        assert (run.folder / picture).read_bytes().startswith(b"\x89PNG")


def test_a_disc_that_does_not_boot_is_not_put_in_place_and_the_reason_is_told(tmp_path: Path) -> None:
    image = floppy(tmp_path / "dos.img", freedos_like())
    raw = bytearray(image.read_bytes())
    raw[0x3E : 0x3E + len(RESET)] = RESET
    image.write_bytes(raw)
    given = params(tmp_path, dos=str(image), boot_test=True)
    Path(given["output"]).write_bytes(b"the old disc")
    _, last = built(given)
    assert isinstance(last, RunFailed)
    assert "boot test as IDE CD: no DOS prompt (exited" in last.why
    assert "no ISO was put in place" in last.what_helps
    assert Path(given["output"]).read_bytes() == b"the old disc"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bios.iso"]


def test_a_boot_test_is_stopped_at_once(tmp_path: Path) -> None:
    given = params(tmp_path, boot_test=True)
    stop = Stop()

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "boot":
            stop.ask()

    _, last = built(given, stop, listen)
    assert isinstance(last, RunStopped)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_stick_form_boots_its_ram_disk_from_usb_and_from_a_cd(tmp_path: Path) -> None:
    """As far as the kernel's first instruction: syslinux and chain.c32 find KERNEL.SYS on the RAM disk."""
    subprocess.run(["nasm", "-f", "bin", "-o", tmp_path / "k", HERE / "kernel.asm"], check=True)
    image = floppy(tmp_path / "dos.img", freedos_like((tmp_path / "k").read_bytes()))
    given = params(tmp_path, dos=str(image), form="stick")
    _, last = built(given)
    assert isinstance(last, Finished)
    path = Path(given["output"])
    for medium in (Disk(path, bus="usb"), Disc(path, "ide")):
        with Machine(Hardware(media=(medium,), memory=128)) as machine:
            seen = machine.wait_for("STUB KERNEL drive=80", where="serial", deadline=120.0)
        assert seen.found, seen


@pytest.mark.skipif(
    "CRASHCART_FDOEM_DIR" not in os.environ, reason="CRASHCART_FDOEM_DIR names no FDOEMCD.builder folder"
)
@pytest.mark.parametrize("form", ["cd", "stick"])
def test_a_real_freedos_lists_the_disc_and_runs_its_batch(form: str, tmp_path: Path) -> None:
    given = params(tmp_path, KIT, dos=os.environ["CRASHCART_FDOEM_DIR"], form=form, boot_test=True)
    _, last = built(given)
    assert isinstance(last, Finished), last
    texts = " ".join(section.text for section in last.sections)
    assert "AFUSTUB ARGS=[ X9SCM2.608 /FDT /MER /OPR]" in texts
