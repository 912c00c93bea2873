"""What the biosiso tests work on: real zips, floppies and folders, made small."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from engines.biosiso.build.build import Build
from engines.biosiso.build.params import BuildParams
from engines.job import journal, runs
from engines.job.contract import AnyEvent, Cancel, Finished, Plan
from engines.job.jobfile import Job
from engines.job.params import convert
from engines.job.perform import Stop, perform
from engines.rehearsal.firmware import AMI_BAT, PACKED, noise
from tests.agreed import AGREED

HERE = Path(__file__).parent
ROM_SIZE = 256 * 1024
FLASHER = b"MZ the vendor's flasher" * 40
KIT: dict[str, bytes] = {
    "AFUDOSU.SMC": FLASHER,
    "AMI.bat": AMI_BAT.encode(),
    "Readme for AMI BIOS.txt": b"read me\r\n",
    "x9scm2.608": noise(ROM_SIZE),
}
FLASH_BAT = (
    "@echo off\r\n"
    "if exist AFUDOSU.SMC ren AFUDOSU.SMC AFUDOSU.EXE\r\n"
    "FDT.EXE %1 > FDT.LOG\r\n"
    "if errorlevel 1 goto same\r\n"
    "copy AUTOEXEC.BAT AUTOEXEC.OLD\r\n"
    "echo FLASH.BAT %1 > AUTOEXEC.BAT\r\n"
    "AFUDOSU.EXE /reboot\r\n"
    ":same\r\n"
    "AFUDOSU.EXE %1 /P /B /N /K /R /FDT /MER /OPR\r\n"
)


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip of these files, dated as the vendor's."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(name, PACKED), content)
    return path


def unpacked(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder of these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def floppy(path: Path, files: Mapping[str, bytes], kib: int = 1440) -> Path:
    """A FAT12 floppy image by mtools, an independent writer."""
    path.write_bytes(bytes(kib * 1024))
    subprocess.run(["mformat", "-i", path, "-f", str(kib), "::"], check=True)
    for folder in {name.rpartition("/")[0] for name in files} - {""}:
        subprocess.run(["mmd", "-i", path, f"::{folder}"], check=True)
    for name, content in files.items():
        subprocess.run(["mcopy", "-i", path, "-", f"::{name}"], input=content, check=True)
    return path


def freedos_like(kernel: bytes = b"kernel") -> dict[str, bytes]:
    """The files of a FreeDOS floppy by name; none of them is FreeDOS."""
    return {
        "KERNEL.SYS": kernel,
        "COMMAND.COM": b"command",
        "CONFIG.SYS": b"DEVICE=\\DRIVERS\\Eltorito.sys /D:CDROM001\r\n",
        "AUTOEXEC.BAT": b"shsucdx /D:CDRCACH$\r\nIF EXIST C:\\AUTORUN.BAT AUTORUN.BAT\r\n",
        "DRIVERS/ELTORITO.SYS": b"driver" * 400,
        "DRIVERS/SHSUCDX.EXE": b"redirector",
        "DRIVERS/HIMEM.EXE": b"himem",
    }


def params(folder: Path, files: Mapping[str, bytes] = KIT, **given: Any) -> dict[str, Any]:
    """Parameters of a build of a small package with a FreeDOS-like floppy; what is `given` wins."""
    made: dict[str, Any] = {"output": str(folder / "out" / "bios.iso"), "board": "X9SCM-F"}
    (folder / "out").mkdir(parents=True, exist_ok=True)
    if "firmware" not in given:
        made["firmware"] = str(zipped(folder / "bios.zip", files))
    if "dos" not in given:
        made["dos"] = str(floppy(folder / "dos.img", freedos_like()))
    return made | given


def planned(given: dict[str, Any]) -> Plan:
    """The plan of a build."""
    return Build().plan(convert(BuildParams, given), Cancel())


def built(given: dict[str, Any], stop: Stop | None = None, listen: Any = None) -> tuple[runs.Run, AnyEvent]:
    """A build, performed as the driver does."""
    run = runs.create(Job(task="biosiso", params=given), given["output"])
    return run, perform(run, Build(), stop=stop, **({"listen": listen} if listen else {}), confirm=AGREED)


def taken_up(run: runs.Run, mode: str) -> tuple[runs.Run, AnyEvent]:
    """`run`, resumed or undone."""
    again = runs.create(run.job(), run.info().target, mode=mode, earlier=run.id)
    return again, perform(again, Build(), confirm=AGREED)


def events(run: runs.Run) -> list[AnyEvent]:
    """What a run told."""
    return [entry.event for entry in journal.entries(run.journal)]


def output(given: dict[str, Any]) -> Path:
    """Where a build's disc goes."""
    return Path(given["output"])


def made(given: dict[str, Any]) -> Finished:
    """The last word of a build that must work."""
    _, last = built(given)
    assert isinstance(last, Finished), last
    return last
