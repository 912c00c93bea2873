"""The DOS that a disc boots: a FreeDOS floppy image that can see the CD it came from, or crashcart's own boot probe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from engines.biosiso.vendor import fat
from engines.biosiso.vendor.sources import Source, nothing
from engines.host.files import open_file
from engines.job.errors import Failed, Refused

# memdisk takes these as floppies by their size alone (syslinux, doc/memdisk.txt)
FLOPPIES = (368640, 737280, 1228800, 1474560, 1720320, 1763328, 2949120)
PROBE_MARK = b"CRASHCART-PROBE"
PROBE_SECTORS = 8
GET = (
    "name FDOEMCD.builder.zip from www.fdos.org/bootdisks, as downloaded or unzipped, "
    "or name a FreeDOS floppy image with ELTORITO.SYS and SHSUCDX"
)
FOR_THIS_CD = ("eltorito.sys",)
OTHER_DRIVERS = ("xcdrom.sys", "uide.sys", "gcdrom.sys", "udvd2.sys", "oakcdrom.sys", "xdvd2.sys")


class Dos(msgspec.Struct, frozen=True, kw_only=True):
    """A boot image: its size in bytes, SHA-256, files in it, and what to be warned of."""

    path: str
    source: Source
    kind: Literal["builder", "floppy", "probe"]
    size: int
    sha256: str
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def content(self) -> bytes:
        """The boot image's bytes."""
        with self.source.open() as stream:
            return stream.read()

    def within(self, member: str) -> Source:
        """A file on the boot image."""
        return Source(kind="floppy", path=self.source.path, inner=self.source.member, member=member)

    @property
    def words(self) -> str:
        """What it is, for the technician."""
        if self.kind == "probe":
            return "boot probe: not a DOS, flashes nothing"
        return {"builder": "FreeDOS from FDOEMCD.builder", "floppy": "FreeDOS floppy image"}[self.kind]


def read(path: Path, check: Callable[[], None] = nothing, *, from_cd: bool = True) -> Dos:
    """The DOS at `path`: a folder of FDOEMCD.builder, or a floppy image. Raises Refused with where to get one.

    from_cd: it must be able to read the CD that it was booted from.
    """
    path = path.resolve()
    if path.is_dir():
        image = Source(kind="file", path=str(_builder_image(path)))
        dos = _judge(path, image, "builder", check, from_cd)
        others = _unused(path)
        warned = (f"not taken from its CDROOT: {', '.join(others)}; put them on the disc with --add",) if others else ()
        return msgspec.structs.replace(dos, warnings=(*dos.warnings, *warned))
    if not path.is_file():
        raise Refused(f"DOS {path} does not exist", GET)
    if is_zip(path):
        return _judge(path, _zipped_image(path), "builder", check, from_cd)
    return _judge(path, Source(kind="file", path=str(path)), "floppy", check, from_cd)


def is_zip(path: Path) -> bool:
    """Whether a file begins as zips do."""
    with os.fdopen(open_file(path), "rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _zipped_image(path: Path) -> Source:
    """The boot image in FDOEMCD.builder.zip. Raises Refused with what the zip holds instead."""
    from engines.biosiso.vendor.archive import listed

    files = listed(path)
    found = [source for name, source in files if f"/{name.lower()}".endswith("/cdroot/isolinux/btdsk.img")]
    if len(found) != 1:
        held = ", ".join(name for name, _ in files[:4]) or "nothing"
        raise Refused(
            f"DOS {path} is a zip without CDROOT/isolinux/BTDSK.IMG, so it is no FDOEMCD.builder.zip and no floppy "
            f"image (it holds {held})",
            GET,
        )
    return found[0]


def _builder_image(folder: Path) -> Path:
    found = beneath(folder, "cdroot/isolinux/btdsk.img") or _one_deeper(folder)
    if found is None:
        raise Refused(f"{folder} has no CDROOT/isolinux/BTDSK.IMG, so it is no FDOEMCD.builder folder", GET)
    return found


def _one_deeper(folder: Path) -> Path | None:
    """The image where the zip was unpacked into a folder of its own name."""
    folders = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    found = [image for entry in folders[:50] if (image := beneath(entry, "cdroot/isolinux/btdsk.img"))]
    return found[0] if len(found) == 1 else None


def beneath(folder: Path, wanted: str) -> Path | None:
    """A path under a folder by its parts in any case; None where it is not there."""
    here = folder
    for part in wanted.split("/"):
        try:
            matches = sorted(entry for entry in here.iterdir() if entry.name.lower() == part)
        except OSError:
            return None
        if len(matches) != 1:
            return None
        here = matches[0]
    return here


def _unused(folder: Path) -> list[str]:
    root = beneath(folder, "cdroot")
    own = {"isolinux", "autorun.bat"}
    return sorted(entry.name for entry in root.iterdir() if entry.name.lower() not in own)[:10] if root else []


def _judge(
    path: Path, image: Source, kind: Literal["builder", "floppy"], check: Callable[[], None], from_cd: bool
) -> Dos:
    try:
        with image.open() as stream:
            content = stream.read(max(FLOPPIES) + 1)
        size, sha256 = image.digest(check)
    except Failed as failed:
        raise Refused(f"DOS {failed.why}", GET) from None
    if len(content) not in FLOPPIES:
        raise Refused(f"DOS {image.name} has {size} bytes, which is no floppy image (360 KB to 2.88 MB)", GET)
    if PROBE_MARK in content[: PROBE_SECTORS * fat.SECTOR]:
        return Dos(
            path=str(path),
            source=image,
            kind="probe",
            size=size,
            sha256=sha256,
            warnings=("the DOS is crashcart's boot probe: the disc proves that it boots, and cannot flash",),
        )
    files = _files(image.name, content)
    return Dos(
        path=str(path),
        source=image,
        kind=kind,
        size=size,
        sha256=sha256,
        files=tuple(files),
        warnings=_drivers(image.name, files) if from_cd else (),
    )


def _files(image: str, content: bytes) -> dict[str, bytes]:
    """Path to content, for the texts that configure DOS; empty content for the rest."""
    try:
        volume = fat.volume(content)
        found = volume.files()
        texts = ("CONFIG.SYS", "FDCONFIG.SYS", "AUTOEXEC.BAT", "FDAUTO.BAT")
        files = {file.path: volume.read(file) if file.path.upper() in texts else b"" for file in found}
    except fat.NoFat as error:
        raise Refused(f"DOS {image} is no FAT floppy image: {error}", GET) from None
    names = {name.upper() for name in files}
    missing = [name for name in ("KERNEL.SYS", "COMMAND.COM") if name not in names]
    if missing:
        raise Refused(f"DOS {image} has no {' and no '.join(missing)}, so it does not boot to FreeDOS", GET)
    return files


def _drivers(image: str, files: dict[str, bytes]) -> tuple[str, ...]:
    """Whether this DOS will see the disc it was booted from. Raises Refused where it cannot."""
    bases = {name.rpartition("/")[2].lower() for name in files}
    settings = b"".join(files.values()).lower()
    redirector = next(
        (name for name in ("shsucdx", "shcdx33", "mscdex", "nwcdex") if f"{name}." in " ".join(bases)), ""
    )
    if not any(name in bases for name in FOR_THIS_CD):
        others = ", ".join(sorted(name for name in bases if name in OTHER_DRIVERS))
        found = f"only {others}, which misses a BMC's USB CD" if others else "no CD driver"
        raise Refused(f"DOS {image} has {found}: the flasher would not be found on the disc", GET)
    if not redirector:
        raise Refused(f"DOS {image} has a CD driver and no SHSUCDX: the disc would get no drive letter", GET)
    warnings = []
    if b"eltorito.sys" not in settings:
        warnings.append("ELTORITO.SYS is on the DOS image, and its CONFIG.SYS does not load it: try --boot-test")
    if b"autorun.bat" not in settings:
        warnings.append("the DOS image does not start AUTORUN.BAT: change to the CD's drive by hand, then type AUTORUN")
    return tuple(warnings)
