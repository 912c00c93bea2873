"""What a ROM's own bytes say: whose firmware it is, and which boards, versions and dates it names.

Sources: UEFI PI 1.7 volume 3 (firmware volumes, LZMA sections), Intel's flash descriptor as flashrom reads it.
"""

from __future__ import annotations

import lzma
import re
import struct
from collections.abc import Callable, Iterator

import msgspec

from engines.biosiso.vendor.sources import Source, nothing

MOST = 64 * 1024 * 1024 + 64 * 1024  # bytes that are read
UNPACKED = 64 * 1024 * 1024  # bytes that all packed sections together may become
SECTIONS = 64  # packed sections looked into
NAMED = 12  # boards told
DESCRIPTOR = b"\x5a\xa5\xf0\x0f"  # at 16, or at 0 on the oldest
LZMA_GUID = bytes.fromhex("98584eee143959429d6edc7bd79403cf")
ASCII = re.compile(rb"[ -~]{5,}")
SURE = 12  # characters of a text that is none by chance; a shorter one is, unless edges stand around it
EDGES = (b"", b"\0", b"\xff", b"\r", b"\n", b"\t", b"$")
CONTROLS = (b"", b"\xff", b"\x7f", b"$", *(bytes([code]) for code in range(32)))
LONG = 7  # characters of a board's name that any control bytes may stand around: by chance it is rare enough
UCS2 = re.compile(rb"(?:[ -~]\x00){5,}")
BOARD = re.compile(
    rb"(?<![A-Za-z0-9_-])((?:(?:X[89]|X1[0-4]|H1[1-4]|B(?:[1-3]|9|1[0-4])|M1[12]|A[123]|C[79])"
    rb"(?:[A-Z][A-Z0-9]{2,9}i?|[A-Z]{2}i)|C[79]Z\d{2,3})\+?(?:-[A-Za-z0-9+]{1,6}){0,2})"
    rb"(?=[\x00 \r\n\",;)/$]|$)"
)
LETTERS = re.compile(r"[A-Z]+\d+([A-Z]{2,})|C[79]Z\d")
MAKERS = (
    ("AMI", (b"American Megatrends", b"AMIBIOS", b"AMIBOOT ROM", b"$FID", b"ALASKA")),
    ("Phoenix", (b"Phoenix Technologies", b"PhoenixBIOS")),
    ("Award", (b"Award Software", b"AwardBIOS")),
    ("Insyde", (b"InsydeH2O", b"Insyde Software")),
)
DATE = re.compile(rb"(?i)(?:bios )?(?:date|build)[: ]{1,3}(\d\d/\d\d/(?:\d{4}|\d\d))")
VERSION = re.compile(rb"(?i)(?:bios )?(?:ver|version|revision)[:. ]{1,3}(\d{1,2}\.\d{1,3}[a-z]?)(?![\w.])")


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """Found in a ROM: an Intel flash descriptor, UEFI firmware volumes, makers, boards, versions and dates it names.

    capsule: it begins as a UEFI capsule does. packed: LZMA sections that could be looked into.
    """

    descriptor: bool = False
    volumes: int = 0
    capsule: bool = False
    packed: int = 0
    makers: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything shows that it is firmware at all."""
        return bool(self.descriptor or self.volumes or self.makers or self.capsule)

    def words(self) -> str:
        """For the review page."""
        said = ["a UEFI capsule"] * self.capsule + ["Intel flash descriptor"] * self.descriptor
        said += [f"{self.volumes} firmware volumes"] * bool(self.volumes)
        said += [f"{', '.join(self.makers)}"] * bool(self.makers)
        said += [f"names board {', '.join(self.boards)}" if self.boards else "names no board"]
        said += [f"version {', '.join(self.versions)}"] * bool(self.versions)
        said += [f"dated {', '.join(self.dates)}"] * bool(self.dates)
        return "; ".join(said) if self.known else "nothing known here as firmware"


def read(source: Source, check: Callable[[], None] = nothing) -> Inside:
    """Look into a ROM; whatever is in it, in bounded time and memory. Raises Failed where it cannot be read."""
    with source.open() as stream:
        content = stream.read(MOST)
    return look(content, check)


def look(content: bytes, check: Callable[[], None] = nothing) -> Inside:
    """The same of bytes."""
    makers: dict[str, None] = {}
    boards: dict[str, None] = {}
    versions: dict[str, None] = {}
    dates: dict[str, None] = {}
    packed = 0  # one is the ROM itself
    for number, part in enumerate(_parts(content)):
        check()
        packed = number
        wide = [found.replace(b"\0", b"") for found in UCS2.findall(part)]
        wide += [found[1:] for found in wide]  # the first may be the end of a text before it, and its zero
        runs = [found.span() for found in ASCII.finditer(part)]
        text = b"\n".join([*(part[begin:end] for begin, end in runs), *wide])
        sure = b"\n".join([*(part[begin:end] for begin, end in runs if _is_text(part, begin, end)), *wide])
        makers |= {name: None for name, marks in MAKERS if any(mark in text for mark in marks)}
        boards |= {word: None for word in _boards(sure)}
        versions |= {found[1].decode(): None for found in VERSION.finditer(text)}
        dates |= {found[1].decode(): None for found in DATE.finditer(text)}
    return Inside(
        descriptor=content[16:20] == DESCRIPTOR or content[:4] == DESCRIPTOR,
        volumes=sum(1 for _ in _volumes(content)),
        capsule=content[:16] in CAPSULES,
        packed=packed,
        makers=tuple(makers),
        boards=tuple(boards)[:NAMED],
        versions=tuple(versions)[:4],
        dates=tuple(dates)[:4],
    )


CAPSULES = (
    bytes.fromhex("bd86663b760d3040b70eb5519e2fc5a0"),  # EFI_CAPSULE_GUID
    bytes.fromhex("8ba63c4a2377fb48803d578cc1fec44d"),  # AMI's, signed
    bytes.fromhex("9085383cba1b0b418bb9e1b6d4a0b2a5"),
)


def _is_text(part: bytes, begin: int, end: int) -> bool:
    """Whether a run of letters is no chance: the packed parts of a large ROM hold a word like X9TD0 here and there."""
    if end - begin >= SURE or _has_edges(part, begin, end):
        return True
    names = (found.span(1) for found in BOARD.finditer(part, begin, end))
    return any(_has_edges(part, *name) or _is_long(part, *name) for name in names)


def _has_edges(part: bytes, begin: int, end: int) -> bool:
    """Whether it ends as texts do, and begins as they do or with its own length in a byte."""
    return part[end : end + 1] in EDGES and part[begin - 1 : begin] in (*EDGES, bytes([min(end - begin, 255)]))


def _is_long(part: bytes, begin: int, end: int) -> bool:
    return end - begin >= LONG and part[begin - 1 : begin] in CONTROLS and part[end : end + 1] in CONTROLS


def _boards(text: bytes) -> Iterator[str]:
    for found in BOARD.finditer(text):
        word = found[1].decode()
        if LETTERS.match(word):
            yield word


def _volumes(content: bytes) -> Iterator[int]:
    """Where firmware volumes begin: the mark stands at 40, their length at 32."""
    at = content.find(b"_FVH")
    while at >= 0:
        start = at - 40
        if start >= 0 and 0 < struct.unpack_from("<Q", content, start + 32)[0] <= len(content):
            yield start
        at = content.find(b"_FVH", at + 4)


def _parts(content: bytes) -> Iterator[bytes]:
    """The ROM itself, then each LZMA section in it, unpacked as far as bounds let it."""
    yield content
    left, at = UNPACKED, content.find(LZMA_GUID)
    for _ in range(SECTIONS):
        if at < 0 or left <= 0:
            return
        if unpacked := _unpacked(content, at, left):
            left -= len(unpacked)
            yield unpacked
        at = content.find(LZMA_GUID, at + 16)


def _unpacked(content: bytes, at: int, most: int) -> bytes:
    """What an LZMA section whose GUID stands at `at` holds; empty where it is none."""
    if len(content) < at + 20:
        return b""
    offset = struct.unpack_from("<H", content, at + 16)[0]
    begin = at - 4 + offset
    size = int.from_bytes(content[at - 4 : at - 1], "little") if at >= 4 else 0
    packed = content[begin : at - 4 + size] if size > offset else content[begin:]
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=256 * 1024 * 1024)
        return unpacker.decompress(packed, max_length=most)
    except (lzma.LZMAError, EOFError, MemoryError):
        return b""
