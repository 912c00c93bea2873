"""A vendor-like BIOS package and a boot floppy to rehearse biosiso with.

It proves that the disc is built, read back, boots and shows DOS its files. It does not prove that a DOS runs the batch
(the boot probe is none), that the vendor's flasher takes these switches, or that a board takes a BIOS: the ROM is
noise and the flasher is a stand-in that sums it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged

ROM = "x9scm2.608"
ROM_SIZE = 8 * 1024 * 1024  # bytes, as the real one
PACKED = (2012, 6, 12, 9, 30, 0)
AMI_BAT = (
    "@ECHO OFF\r\n"
    "IF EXIST AFUDOSU.SMC REN AFUDOSU.SMC AFUDOSU.EXE\r\n"
    "AFUDOSU.EXE %1 /P /B /N /K /R /FDT /MER /OPR\r\n"
    "REN AFUDOSU.EXE AFUDOSU.SMC\r\n"
)
README = (
    "This is no vendor's package: it stands in for one in a rehearsal.\r\n"
    "1. Save all files to a bootable DOS device.\r\n"
    "2. Boot to DOS and type AMI.BAT filename.xxx\r\n"
)


def make(folder: Path) -> dict[str, Any]:
    """Fill `folder` with a vendor's zip and a boot image; gives the parameters of a build."""
    from engines.biosiso.media.bootprobe import assemble

    media = assemble(folder / "probe")
    firmware = folder / "x9scm2_608.zip"
    with ZipFile(firmware, "w", ZIP_DEFLATED) as archive:
        for name, content in vendor_files(media.flasher.read_bytes()).items():
            info = ZipInfo(name, PACKED)
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=1)
    (folder / "out").mkdir(exist_ok=True)
    return {
        "firmware": str(firmware),
        "dos": str(media.floppy),
        "output": str(folder / "out" / "bios.iso"),
        "board": "X9SCM-F",
        "boot_test": True,
    }


def vendor_files(flasher: bytes) -> dict[str, bytes]:
    """The package's files by name, the same bytes every time."""
    return {
        "AFUDOSU.SMC": flasher,
        "AMI.bat": AMI_BAT.encode("ascii"),
        "Readme for AMI BIOS.txt": README.encode("ascii"),
        ROM: noise(ROM_SIZE),
    }


def noise(size: int) -> bytes:
    """That many bytes that do not compress, the same every time."""
    return hashlib.shake_128(b"crashcart rehearsal").digest(size)


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """The rehearsal of biosiso."""
    from engines.job.jobfile import Job
    from engines.rehearsal.stage import Staged

    yield Staged(job=Job(task="biosiso", params=make(folder)))
