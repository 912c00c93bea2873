"""The files of a vendor's zip or folder, refused where the archive is hostile, damaged or absurd."""

from __future__ import annotations

import calendar
import datetime
import io
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

import msgspec

from engines.biosiso.vendor import batch, mistaken
from engines.biosiso.vendor.mistaken import AGAIN
from engines.biosiso.vendor.sources import Source, nothing, unreadable, walk
from engines.job.errors import Failed, Refused

MOST_FILES = 2000
MOST_BYTES = 512 * 1024 * 1024  # unpacked; the largest vendor zips are near 40 MB
MOST_READ = 8 << 30  # bytes unpacked to hash all files of a zip in a zip, which is unpacked anew for each
LISTING = 4 * 1024 * 1024  # bytes of a zip's list; 2000 files with long names take 1 MiB
RUN = (".smc", ".efi", ".bat", ".nsh")
FLASHER = re.compile(rf"(?:{batch.KNOWN})\.(?:exe|com)", re.IGNORECASE)
FOLDER = ("/", "\\")  # some Windows programs end a folder's name with the second
ENCRYPTED = 0x1  # general purpose flag bit 0, PKWARE APPNOTE 4.4.4


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `name`: with / between folders; size in bytes; SHA-256 hex; `dated`: Unix s, 0 unknown."""

    name: str
    size: int
    sha256: str
    source: Source
    dated: float = 0.0

    @property
    def base(self) -> str:
        """The name without its folders."""
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Its folder, empty for the top."""
        return self.name.rpartition("/")[0]


def members(path: Path, check: Callable[[], None] = nothing) -> tuple[Member, ...]:
    """Every file, hashed, a single top folder taken off. Raises Refused."""
    if path.is_dir():
        files = _of_folder(path)
    elif path.is_file():
        files = _of_zip(path)
    else:
        raise Refused(f"firmware {path} does not exist", "name the vendor's zip or the folder it was unpacked into")
    if not files:
        raise Refused(f"firmware {path} holds no files", AGAIN)
    if len(files) > MOST_FILES:
        raise Refused(f"{path} holds {len(files)} files, allowed are {MOST_FILES}", AGAIN)
    bare = _without_top([name for name, _, _ in files])
    return tuple(_hashed(name, source, dated, check) for name, (_, source, dated) in zip(bare, files, strict=True))


def listed(path: Path) -> list[tuple[str, Source]]:
    """The files of a zip by name, a single top folder left on. Raises Refused."""
    return [(name, source) for name, source, _ in _of_zip(path)]


Found = tuple[str, Source, float]


def _of_a_mac(name: str) -> bool:
    """Whether macOS put it beside the files of a folder or zip: it is named as they are, and is none of them."""
    *folders, base = name.split("/")
    return "__MACOSX" in folders or base == ".DS_Store" or base.startswith("._")


def _of_folder(folder: Path) -> list[Found]:
    found = [(name, file) for name, file in walk(folder, MOST_FILES) if not _of_a_mac(name)]
    room = _Room(folder)
    wrapped = _only_wraps([name for name, _ in found])
    files: list[Found] = []
    for name, file in found:
        if wrapped and name.lower().endswith(".zip"):
            files += _below(name, _listed(file, "", room))
        else:
            files.append((name, Source(kind="file", path=str(file)), 0.0))
    return files


def _only_wraps(names: list[str]) -> bool:
    """Whether what is to be run lies in a zip in it: a package that runs as it is keeps its zips closed."""
    bases = [name.rpartition("/")[2] for name in names]
    return not any(base.lower().endswith(RUN) or FLASHER.fullmatch(base) for base in bases)


def _below(zipped: str, files: list[Found]) -> list[Found]:
    return [(f"{zipped[: -len('.zip')]}/{name}", source, dated) for name, source, dated in files]


def _hashed(name: str, source: Source, dated: float, check: Callable[[], None]) -> Member:
    try:
        size, sha256 = source.digest(check)
    except Failed as failed:
        raise Refused(failed.why, failed.what_helps) from None
    return Member(name=name, size=size, sha256=sha256, source=source, dated=dated)


def _of_zip(path: Path) -> list[Found]:
    """The files of a zip, and of the zips that lie in it."""
    if path.stat().st_size > MOST_BYTES:
        raise Refused(f"{path} has {path.stat().st_size} bytes, allowed are {MOST_BYTES}", "name the BIOS zip")
    room = _Room(path)
    found, files = _listed(path, "", room), []
    wrapped = _only_wraps([name for name, _, _ in found])
    for name, source, dated in found:
        if wrapped and name.lower().endswith(".zip"):
            files += _below(name, _listed(path, source.member, room))
        else:
            files.append((name, source, dated))
    return files


class _Room:
    """What all zips of a package may hold together: each small by itself, a thousand of them are a bomb."""

    def __init__(self, path: Path) -> None:
        self._path, self._files, self._bytes, self._read = path, 0, 0, 0

    def take(self, infos: list[ZipInfo], inner: int) -> None:
        """Raise Refused where these are too many. inner: bytes of the zip in a zip that they are of, else 0."""
        self._files += len(infos)
        self._bytes += sum(info.file_size for info in infos)
        self._read += inner * len(infos)
        for found, most, what in (
            (self._files, MOST_FILES, "files in the zips in it"),
            (self._bytes, 2 * MOST_BYTES, "bytes in the zips in it"),
            (self._read, MOST_READ, "bytes to be unpacked for the zips in it"),
        ):
            if found > most:
                raise Refused(f"{self._path} holds {found} {what}, allowed are {most}", AGAIN)


def _listed(path: Path, inner: str, room: _Room) -> list[Found]:
    """The files of a zip, or of the zip of that name in it."""
    infos, size = _infos(path, inner)
    where = Path(f"{path}/{inner}") if inner else path
    _refuse_absurd(where, infos)
    room.take(infos, size)
    return [
        (name, Source(kind="member", path=str(path), inner=inner, member=info.filename), _dated(info))
        for info in sorted(infos, key=lambda info: info.filename)
        if not _of_a_mac(name := info.filename.replace("\\", "/"))
    ]


def _infos(path: Path, inner: str) -> tuple[list[ZipInfo], int]:
    """Its files, and how many bytes it has itself where it lies in another."""
    named = f"{inner} in {path}" if inner else str(path)
    try:
        source = Source(kind="member" if inner else "file", path=str(path), member=inner)
        with source.open() as stream:
            content = io.BytesIO(stream.read(MOST_BYTES)) if inner else stream
            with ZipFile(cast(BinaryIO, _Listed(content))) as archive:
                size = len(content.getvalue()) if isinstance(content, io.BytesIO) else 0
                return [info for info in archive.infolist() if not info.filename.endswith(FOLDER)], size
    except BadZipFile as error:
        what, helps = ("", "") if inner else mistaken.told(path)
        if what:
            raise Refused(f"{named} is no zip: it is {what}", helps) from None
        raise Refused(f"{named} is no zip that can be read ({error})", AGAIN) from None
    except Failed as failed:
        raise Refused(failed.why, AGAIN) from None
    except unreadable() as error:
        raise Refused(f"{named} cannot be read ({error})", AGAIN) from None


class _Listed:
    """A zip whose list of files is short: it is read in one piece, and each of its entries takes a KiB of memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        """See io.RawIOBase. Raises BadZipFile."""
        if size > LISTING:
            raise BadZipFile(f"its list of files is {size} bytes long, allowed are {LISTING}")
        return self._stream.read(size)


def _refuse_absurd(path: Path, infos: list[ZipInfo]) -> None:
    if len(infos) > MOST_FILES:
        raise Refused(f"{path} holds {len(infos)} files, allowed are {MOST_FILES}", AGAIN)
    total = sum(info.file_size for info in infos)
    if total > MOST_BYTES:
        raise Refused(f"{path} unpacks to {total} bytes, allowed are {MOST_BYTES}", AGAIN)
    seen: set[str] = set()
    for info in infos:
        _refuse_hostile(path, info, seen)
        seen.add(info.filename)


def _refuse_hostile(path: Path, info: ZipInfo, seen: set[str]) -> None:
    name = info.filename.replace("\\", "/")
    parts = name.split("/")
    shown = ascii(info.filename)
    if name.startswith("/") or ".." in parts or "" in parts or ":" in parts[0]:
        raise Refused(f"{path} holds {shown}, which leads out of its folder", "do not use this zip; " + AGAIN)
    if any(ord(char) < 32 or ord(char) == 127 for char in name) or len(name) > 240:
        raise Refused(f"{path} holds the name {shown[:80]}", "do not use this zip; " + AGAIN)
    if info.flag_bits & ENCRYPTED:
        raise Refused(
            f"{shown} in {path} is encrypted", "unpack it with its password into a folder, and name that folder"
        )
    if info.filename in seen:
        raise Refused(f"{path} holds {shown} twice", AGAIN)
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Refused(f"{shown} in {path} is a link or special file", "do not use this zip; " + AGAIN)


def _dated(info: ZipInfo) -> float:
    year, month, day = info.date_time[:3]
    try:
        datetime.date(year, month, day)
    except ValueError:
        return 0.0
    return float(calendar.timegm((*info.date_time, 0, 0, 0)))


def _without_top(names: list[str]) -> list[str]:
    """Names with the one folder that holds all of them taken off, as often as there is one."""
    tops = {name.partition("/")[0] for name in names}
    while len(tops) == 1 and all("/" in name for name in names):
        names = [name.partition("/")[2] for name in names]
        tops = {name.partition("/")[0] for name in names}
    return names
