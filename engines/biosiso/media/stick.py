"""A disc that boots from USB too: DOS and the vendor's files in a RAM disk, writable until the power goes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

from engines.biosiso.media import fat16, layout, texts
from engines.biosiso.media.layout import Entry
from engines.biosiso.vendor import fat, names
from engines.biosiso.vendor.dos import Dos
from engines.job.errors import Failed, Refused

MODULES = Path("/usr/lib/syslinux/modules/bios")
MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
CHAIN = ("chain.c32", "libcom32.c32", "libutil.c32")
RAM_DISK = "ISOLINUX/RAM.IMG"
LABEL = "CRASHCART"
TOP = ("KERNEL.SYS", "COMMAND.COM")
REPLACED = ("CONFIG.SYS", "FDCONFIG.SYS", "AUTOEXEC.BAT", "FDAUTO.BAT")
RESERVED = (
    *(*TOP, "CONFIG.SYS", "AUTOEXEC.BAT", "SYSLINUX.CFG", "LDLINUX.SYS", "LDLINUX.C32", "DOS/X"),
    *(name.upper() for name in CHAIN),
)
INSTALL_WITHIN = 60.0  # s; 0.1 on an idle machine


def require_tools() -> None:
    """Raises Refused with the packages where what the RAM disk is made with is missing."""
    if not (shutil.which("syslinux") and shutil.which("mcopy")):
        raise Refused("syslinux or mtools is not installed", "install them: apt-get install syslinux mtools")
    for path in (MBR, *(MODULES / name for name in CHAIN)):
        if not path.is_file():
            raise Refused(f"{path} is not installed", "install it: apt-get install syslinux-common")


def ram_entries(system: Dos, own: list[Entry], vendor: list[Entry]) -> list[Entry]:
    """Everything on the RAM disk: boot modules, DOS, our texts and the vendor's files. Raises Refused."""
    if system.kind == "probe":
        raise Refused("the stick form needs a DOS, and the boot probe is none", "name a FreeDOS, or build the cd form")
    require_tools()
    dos = _dos_entries(system)
    himem = next((entry.disc for entry in dos if entry.disc.rpartition("/")[2] == "HIMEM.EXE"), "")
    return [
        *dos,
        *(layout.of_host(name.upper(), MODULES / name) for name in CHAIN),
        layout.of_text("SYSLINUX.CFG", texts.syslinux_cfg()),
        layout.of_text("CONFIG.SYS", texts.config_sys(himem)),
        layout.of_text("AUTOEXEC.BAT", texts.autoexec_bat()),
        *own,
        *vendor,
    ]


def _dos_entries(system: Dos) -> list[Entry]:
    volume = fat.volume(system.content())
    entries = []
    for file in volume.files():
        if file.path.upper() in REPLACED:
            continue
        disc = names.disc_path(file.path if file.path.upper() in TOP else f"DOS/{file.path}")
        source = system.within(file.path)
        size, sha256 = source.digest()
        entries.append(Entry(disc=disc, name=disc, source=source, size=size, sha256=sha256))
    return entries


def disc_boot_entries() -> list[Entry]:
    """What makes the disc boot into its RAM disk, but for the RAM disk itself."""
    hosts = (layout.ISOLINUX_BIN, layout.LDLINUX, layout.MEMDISK)
    return [
        *(layout.of_host(disc, path) for disc, path in zip(layout.BOOT[:3], hosts, strict=True)),
        layout.of_text(layout.BOOT[3], texts.isolinux_cfg("ram.img", "harddisk"), layout.BOOT[3].lower()),
    ]


def make(entries: tuple[Entry, ...], out: Path, epoch: int) -> Generator[tuple[int, int], None, None]:
    """Write the RAM disk's image to `out` and make it boot; yields (bytes done, total). Raises Failed."""
    with out.open("xb") as stream:
        yield from fat16.write(fat16.layout(entries), entries, stream, epoch, LABEL, MBR.read_bytes())
    _install(out, epoch)


def _install(image: Path, epoch: int) -> None:
    """syslinux onto the partition; it writes by mtools, which take the one time of the disc from the environment."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run(
        ["syslinux", "--install", "--offset", str(fat16.START * fat16.SECTOR), str(image)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=INSTALL_WITHIN,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
        raise Failed(
            f"syslinux cannot make the RAM disk boot: {said[0]}", "apt-get install --reinstall syslinux mtools"
        )
