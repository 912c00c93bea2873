"""Which files a disc holds, under which names, decided before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from engines.biosiso.media import texts
from engines.biosiso.vendor import names
from engines.biosiso.vendor.dos import Dos
from engines.biosiso.vendor.firmware import Kit
from engines.biosiso.vendor.rom import Rom
from engines.biosiso.vendor.sources import Source, nothing, walk
from engines.job.errors import Failed, Refused

Form = Literal["cd", "stick", "dual", "uefi"]
ISOLINUX_BIN = Path("/usr/lib/ISOLINUX/isolinux.bin")
LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
MEMDISK = Path("/usr/lib/syslinux/memdisk")
PACKAGES = {ISOLINUX_BIN: "isolinux", LDLINUX: "syslinux-common", MEMDISK: "syslinux-common"}
OWN = ("AUTORUN.BAT", "AMI2.BAT", "README.TXT", "MANIFEST.TXT")
BOOT = (
    "ISOLINUX/ISOLINUX.BIN",
    "ISOLINUX/LDLINUX.C32",
    "ISOLINUX/MEMDISK",
    "ISOLINUX/ISOLINUX.CFG",
    "ISOLINUX/BTDSK.IMG",
)
CATALOG = "ISOLINUX/BOOT.CAT"
FLASHER = "AFUDOSU.EXE"
MOST_ADDED = 20_000  # files


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a disc: level 1 path, name for people, bytes and SHA-256 hex of what it holds."""

    disc: str
    name: str
    source: Source
    size: int
    sha256: str


class Kept(msgspec.Struct, frozen=True):
    """A file from outside before it has its name on the disc: a label for errors, the wanted path."""

    label: str
    path: str
    source: Source
    size: int
    sha256: str


def of_text(disc: str, text: str, name: str = "") -> Entry:
    """An entry whose bytes are a generated text."""
    size, sha256 = Source(kind="text", text=text).digest()
    return Entry(disc=disc, name=name or disc, source=Source(kind="text", text=text), size=size, sha256=sha256)


def of_host(disc: str, path: Path, check: Callable[[], None] = nothing) -> Entry:
    """An entry from a file of this machine. Raises Refused with the package that holds it."""
    if not path.is_file():
        raise Refused(f"{path} is not installed", f"install it: apt-get install {PACKAGES.get(path, 'syslinux')}")
    source = Source(kind="file", path=str(path))
    size, sha256 = source.digest(check)
    return Entry(disc=disc, name=disc.lower(), source=source, size=size, sha256=sha256)


def boot_entries(dos: Dos) -> list[Entry]:
    """What makes the disc boot into the DOS image."""
    image = Entry(disc=BOOT[4], name=BOOT[4].lower(), source=dos.source, size=dos.size, sha256=dos.sha256)
    return [
        *(of_host(disc, path) for disc, path in zip(BOOT[:3], (ISOLINUX_BIN, LDLINUX, MEMDISK), strict=True)),
        of_text(BOOT[3], texts.isolinux_cfg(), BOOT[3].lower()),
        image,
    ]


def kept(kit: Kit, rom: Rom, added: Iterable[Kept]) -> list[Kept]:
    """The vendor's files and the added ones.

    ROMs that were not picked stay off, for there is one ROM a disc, but for those that the package's own script names.
    """
    others = {other.name for other in left_off(kit, rom)}
    lf_only = {script.file for script in kit.scripts if script.lf_only and script.file.lower().endswith(".bat")}
    files: list[Kept] = []
    for member in kit.members:
        if member.name in others:
            continue
        path = member.base if member.name == rom.name else _from_home(member.name, kit.home)
        source, size, sha256 = member.source, member.size, member.sha256
        if member.name in lf_only:
            source = msgspec.structs.replace(source, crlf=True)
            size, sha256 = source.digest()
        files.append(Kept(f"{member.name} of the firmware", path, source, size, sha256))
    return [*files, *added]


def left_off(kit: Kit, rom: Rom) -> list[Rom]:
    """The ROMs that stay off: all but the picked one, and but for those that the package's own script names."""
    return [
        other
        for other in kit.roms
        if other.name != rom.name and (other.sha256 == rom.sha256 or not kit.mentions(other.name))
    ]


def _from_home(name: str, home: str) -> str:
    return name[len(home) + 1 :] if home and name.startswith(home + "/") else name


def added(paths: Iterable[str], check: Callable[[], None] = nothing) -> list[Kept]:
    """Files to put on the disc besides the vendor's; a folder goes on under its own name. Raises Refused."""
    found: list[Kept] = []
    for text in paths:
        path = Path(text).resolve()
        if path.is_dir():
            found += [_hashed(file, f"{path.name}/{name}", check) for name, file in walk(path, MOST_ADDED)]
        elif path.is_file():
            found.append(_hashed(path, path.name, check))
        else:
            raise Refused(f"--add {text} does not exist", "name a file or a folder that is there")
    if len({file.label for file in found}) != len(found):
        raise Refused("--add names the same file twice", "name it once")
    return found


def _hashed(path: Path, name: str, check: Callable[[], None]) -> Kept:
    source = Source(kind="file", path=str(path))
    try:
        size, sha256 = source.digest(check)
    except Failed as failed:
        raise Refused(failed.why, failed.what_helps) from None
    return Kept(str(path), name, source, size, sha256)


def named(files: list[Kept], kit: Kit, reserved: Iterable[str] = ()) -> list[Entry]:
    """Files under their names on the disc, the flasher under AFUDOSU.EXE too. Raises Refused on names alike."""
    own_name = any(_from_home(member.name, kit.home).upper() == FLASHER for member in kit.members)
    is_exe = own_name or not kit.is_amis
    ours = [*OWN, *BOOT, CATALOG, *([] if is_exe else [FLASHER]), *reserved]
    discs = names.assign({file.label: file.path for file in files}, ours)
    entries = [
        Entry(
            disc=discs[file.label],
            name=_for_people(file.path, discs[file.label]),
            source=file.source,
            size=file.size,
            sha256=file.sha256,
        )
        for file in files
    ]
    if kit.flasher and not is_exe:
        flasher = kit.member(kit.flasher)
        entries.append(
            Entry(disc=FLASHER, name=FLASHER, source=flasher.source, size=flasher.size, sha256=flasher.sha256)
        )
    return entries


def _for_people(path: str, disc: str) -> str:
    """The path in Joliet and Rock Ridge: the vendor's own, unless that is ours or does not fit there."""
    parts = path.split("/")
    fits = all(re.fullmatch(r"[ -~]{1,60}", part) and not re.search(r'[*/:;?\\"<>|]', part) for part in parts)
    ours = names.disc_path(path) != disc
    return disc if ours or not fits else path


def renamed(entries: Iterable[Entry]) -> tuple[tuple[str, str], ...]:
    """(vendor's name, name on the disc) where DOS shows another name than the vendor's."""
    return tuple((entry.name, entry.disc) for entry in entries if entry.name.upper() != entry.disc)


def listing(entries: Iterable[Entry]) -> list[tuple[str, int, str]]:
    """(name, bytes, SHA-256) for the manifest; isolinux.bin is left out, for its boot info table is filled in later."""
    return [(entry.disc, entry.size, entry.sha256) for entry in entries if entry.disc != BOOT[0]]
