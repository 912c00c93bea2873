"""What a ROM file's name, size and age say about the board it is for."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable

import msgspec

from engines.biosiso.vendor.archive import Member
from engines.job.errors import Refused

SMALLEST, LARGEST = 256 * 1024, 64 * 1024 * 1024  # bytes of a BIOS flash chip
DATED = re.compile(r"(?P<board>[A-Za-z][\w+-]*?)(?P<year>\d)\.(?P<month>[1-9A-Ca-c])(?P<day>[0-3]\d)")
IMAGE = re.compile(r".+\.(rom|bin|cap)", re.IGNORECASE)
NO_ROM = (".exe", ".com", ".smc", ".efi", ".bat", ".nsh", ".zip", ".pdf", ".txt", ".img", ".iso", ".7z", ".rar")
PACKED = (".7z", ".rar", ".cab", ".tgz", ".gz", ".iso")
READ = (".txt", ".pdf", ".htm", ".html", ".doc", ".ini")
DAY = 86400.0  # s
HEADER = 64 * 1024  # bytes that a capsule may have before its ROM


class Rom(msgspec.Struct, frozen=True, kw_only=True):
    """A ROM image. `stem` is its name without the date; `date` ISO, empty where the name does not settle it."""

    name: str
    size: int
    sha256: str
    stem: str
    date: str = ""
    date_note: str = ""


def candidates(files: Iterable[Member]) -> tuple[Rom, ...]:
    """The files that are named as ROMs are; one named <board><y>.<m><dd> counts whatever its size."""
    return tuple(
        read(file)
        for file in files
        if DATED.fullmatch(file.base) or (IMAGE.fullmatch(file.base) and file.size >= SMALLEST)
    )


def read(file: Member) -> Rom:
    """A file taken as a ROM."""
    found = DATED.fullmatch(file.base)
    stem = found["board"] if found else file.base.rpartition(".")[0]
    date, note = _date(found, file.dated) if found else ("", "its name holds no date")
    return Rom(name=file.name, size=file.size, sha256=file.sha256, stem=stem, date=date, date_note=note)


def _date(found: re.Match[str], packed: float) -> tuple[str, str]:
    """The name's last digit of the year, month 1-9 and day; the decade from when the zip was packed, if it fits."""
    digit, month, day = found["year"], found["month"], int(found["day"])
    if not month.isdigit():
        return "", f"year ends in {digit}; month code {month} (October to December) is not vouched for"
    spoken = f"year ends in {digit}, {int(month):02}-{day:02}"
    if not 1 <= day <= calendar.monthrange(2000, int(month))[1]:
        return "", f"{found['day']} is no day of month {month}"
    for year in range(2000 + int(digit), 2100, 10):
        released = calendar.timegm((year, int(month), day, 12, 0, 0))
        if packed and -2 * DAY <= packed - released <= 400 * DAY:
            return f"{year}-{int(month):02}-{day:02}", f"from its name; packed {_day(packed)}"
    return "", f"{spoken}; the decade is open"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def pick(roms: tuple[Rom, ...], wanted: str, where: str, files: tuple[Member, ...] = (), vendors: str = "") -> Rom:
    """The one ROM for the disc: the wanted file, or the only ROM. Files alike are one. Raises Refused.

    files: of the package, any of which can be wanted. vendors: what the package's own flash lines name, each in a line.
    """
    if wanted:
        return _wanted(roms, wanted.lower(), where, files)
    roms = roms or _odd_names(files, vendors)
    if not roms:
        held = ", ".join(f"{file.name} ({file.size} bytes)" for file in files[:6])
        raise Refused(
            f"{where} holds no ROM (a file named like x9scm2.608, or .rom, .bin, .cap)"
            + (f"; it holds {held}" if held else ""),
            _packed(files) or "name the vendor's BIOS zip for this board; if one of these files is the ROM: --rom NAME",
        )
    dated = sorted(roms, key=lambda rom: not DATED.fullmatch(rom.name.rpartition("/")[2]))  # the one that tells more
    different = list({rom.sha256: rom for rom in reversed(dated)}.values())[::-1]
    called = [rom for rom in different if rom.name.rpartition("/")[2].lower() in vendors.lower().split()]
    if len(different) > 1 and (len(called) != 1 or _is_open(vendors, roms)):
        names = ", ".join(rom.name for rom in roms)
        raise Refused(f"{where} holds {len(different)} ROMs: {names}", "pick one by its name: --rom NAME")
    rom = (called if len(different) > 1 else different)[0]
    _refuse_size(rom)
    return rom


def _is_open(vendors: str, roms: tuple[Rom, ...]) -> bool:
    """Whether one of the flash lines takes its ROM from an argument or a variable: then it may be any."""
    bases = {rom.name.rpartition("/")[2].lower() for rom in roms}
    return any("%" in line and not bases & set(line.lower().split()) for line in vendors.splitlines())


def _packed(files: tuple[Member, ...]) -> str:
    """What helps where the ROM may lie in an archive that is not opened here; empty where there is none."""
    alone = all(file.base.lower().endswith((".exe", *READ)) for file in files)
    found = [file.name for file in files if file.base.lower().endswith((".exe",) if alone else PACKED)]
    return f"unpack {found[0]} into a folder (7z x), and name that folder" if found else ""


def _odd_names(files: tuple[Member, ...], vendors: str) -> tuple[Rom, ...]:
    """Where no file is named as a ROM: what the vendor's line names, or the only one of a flash chip's size."""
    words = vendors.lower().split()
    called = [file for file in files if file.base.lower() in words]
    sized = [
        file
        for file in files
        if file.size & (file.size - 1) == 0
        and SMALLEST <= file.size <= LARGEST
        and not file.base.lower().endswith(NO_ROM)
    ]
    found = called or (sized if len({file.sha256 for file in sized}) == 1 else [])
    return tuple(read(file) for file in found)


def _wanted(roms: tuple[Rom, ...], wanted: str, where: str, files: tuple[Member, ...]) -> Rom:
    def named(name: str) -> bool:
        return wanted in (name.lower(), name.rpartition("/")[2].lower())

    known = {rom.sha256: rom for rom in reversed(roms) if named(rom.name)}
    others = {file.sha256: file for file in reversed(files) if named(file.name)}
    if len(known) == 1:
        rom = next(iter(known.values()))
        _refuse_size(rom)
        return rom
    if len(known) > 1 or len(others) != 1:
        names = ", ".join(rom.name for rom in roms) or ", ".join(file.name for file in files[:6]) or "nothing"
        raise Refused(f"ROM {wanted!r} is not in {where}, or there more than once", f"it holds: {names}")
    rom = read(next(iter(others.values())))
    if rom.size == 0:
        _refuse_size(rom)
    return rom


def odd(rom: Rom) -> str:
    """A warning where a file that was named as the ROM has no flash chip's size; empty where it has."""
    capsule = rom.name.lower().endswith(".cap") and SMALLEST <= rom.size <= LARGEST + HEADER
    if capsule or (rom.size & (rom.size - 1) == 0 and SMALLEST <= rom.size <= LARGEST):
        return ""
    return f"{rom.name} has {rom.size} bytes, which is no flash chip's size: is it the file that the flasher wants?"


def _refuse_size(rom: Rom) -> None:
    if rom.size == 0:
        raise Refused(f"ROM {rom.name} has length zero", "fetch the zip again; an empty ROM would erase the board")
    capsule = rom.name.lower().endswith(".cap") and SMALLEST <= rom.size <= LARGEST + HEADER
    if not capsule and (rom.size & (rom.size - 1) or not SMALLEST <= rom.size <= LARGEST):
        raise Refused(
            f"ROM {rom.name} has {rom.size} bytes, no power of two from 256 KiB to 64 MiB",
            "it is cut short or no BIOS; fetch the zip again from the vendor",
        )
