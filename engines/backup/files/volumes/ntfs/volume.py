"""NTFS as a Volume, in this process and without mounting: no byte of the guest reaches a kernel."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from typing_extensions import override

from engines.backup.files.model import BrowseError, DiskBytes, Node, NoSuchFile, Unsupported, Volume, VolumeInfo, shown
from engines.backup.files.volumes.dentries import Dentries
from engines.backup.files.volumes.ntfs import index, links
from engines.backup.files.volumes.ntfs.record import (
    BITMAP,
    DATA,
    FOLDER,
    IN_USE,
    INDEX,
    INDEX_ROOT,
    INFORMATION,
    LIST,
    NAME,
    RECORD,
    REPARSE,
    Attribute,
    FileRecord,
    joined,
    parse,
)
from engines.backup.files.volumes.ntfs.stream import AttributeStream
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

MFT, ROOT = 0, 5  # record numbers
OWN = 24  # records below belong to NTFS itself
EXTENSIONS = 4096  # records of one file at most
LIST_LONGEST = 1024 * 1024  # bytes of an attribute list
STREAM_LONGEST = 65536  # bytes of a named stream that is shown as an attribute, as Linux allows
READ_ONLY, SYSTEM = 0x1, 0x4  # file attributes
EPOCH = 116_444_736_000_000_000  # 1970 in 100 ns since 1601


class NtfsVolume(Volume):
    """See Volume. `source` is the file system's own bytes, from its first. Named streams are attributes `user.NAME`."""

    driver = "quick"

    def __init__(self, source: DiskBytes, info: VolumeInfo, state: str) -> None:
        self.info = info
        self.state = state
        self._window = Window(source, 0, source.size)
        self._dentries: Dentries[int] = Dentries()
        self._damaged: dict[int, BrowseError] = {}
        self._geometry()
        first = self._window.exactly(self._table * self._cluster, self._record, "the file table")
        self._mft = self._stream(MFT, self._data(parse(first, MFT)))
        self._mft = self._stream(MFT, self._data(self.record(MFT)))

    def _geometry(self) -> None:
        boot = self._window.exactly(0, 512, "the boot sector")
        sector, cluster = struct.unpack_from("<HB", boot, 11)
        self._cluster = sector * (cluster if cluster <= 128 else 1 << min(256 - cluster, 16))
        self._table, per_record = struct.unpack_from("<Q", boot, 48)[0], struct.unpack_from("<b", boot, 64)[0]
        self._record = per_record * self._cluster if per_record > 0 else 1 << min(-per_record, 16)
        if sector not in (512, 1024, 2048, 4096) or not 512 <= self._cluster <= 1 << 21 or self._record % 512:
            raise BrowseError("the NTFS boot sector is damaged: it names impossible sizes")
        if not 512 <= self._record <= 65536:
            raise BrowseError(f"the NTFS boot sector is damaged: it names file records of {self._record} bytes")

    # ── records ─────────────────────────────────────────────────────────────────────────────────────

    def record(self, number: int) -> FileRecord:
        """A file's record with the attributes that lie in others. Raises BrowseError."""
        found = self._one(number)
        lists = [each for each in found.attributes if each.type == LIST]
        if not lists:
            return found
        stream = self._stream(number, lists[0])
        raw = stream.read(0, min(stream.size, LIST_LONGEST))
        parts = list(found.attributes)
        others = {reference for reference in _listed(raw, number) if reference != number}
        if len(others) > EXTENSIONS:
            raise BrowseError(f"file record {number} is damaged: it names {len(others)} others")
        for other in sorted(others):
            extension = self._one(other)
            if extension.base == number and extension.flags & IN_USE:
                parts += extension.attributes
        return found._replace(attributes=tuple(joined(parts)))

    def _one(self, number: int) -> FileRecord:
        raw = self._mft.read(number * self._record, self._record)
        if len(raw) < self._record:
            raise BrowseError(f"file record {number} does not exist")
        return parse(raw, number)

    def _data(self, record: FileRecord) -> Attribute:
        found = next((each for each in record.attributes if each.type == DATA and not each.name), None)
        return found or Attribute(DATA, "", 0, b"")

    def _stream(self, number: int, attribute: Attribute) -> AttributeStream:
        return AttributeStream(self._window, self._cluster, attribute, f"file record {number}")

    # ── paths ───────────────────────────────────────────────────────────────────────────────────────

    def _find(self, path: bytes) -> FileRecord:
        number = ROOT
        for part in path.split(b"/"):
            if part:
                number = self._lookup(number, part, path)
        return self._live(number)

    def _live(self, reference: int) -> FileRecord:
        found = self.record(reference & RECORD)
        if not found.flags & IN_USE or (reference >> 48 and reference >> 48 != found.sequence):
            raise BrowseError(f"file record {reference & RECORD} is free, the file system is damaged")
        return found

    def _lookup(self, folder: int, name: bytes, path: bytes) -> int:
        """A name's reference in a folder: as it is written, else as Windows would find it."""
        known = self._dentries.get(folder & RECORD, lambda: self._names(folder, path))
        if name in known:
            return known[name]
        wanted = _folded(name)
        for each, reference in known.items():
            if _folded(each) == wanted:
                return reference
        if folder & RECORD in self._damaged:
            raise self._damaged[folder & RECORD]
        raise NoSuchFile(f"{shown(path)}: there is no such file")

    def _names(self, folder: int, path: bytes) -> dict[bytes, int]:
        record = self._live(folder)
        if not record.flags & FOLDER:
            raise NoSuchFile(f"{shown(path)}: there is no such file")
        found: dict[bytes, int] = {}
        try:
            for name, reference in self._entries(record):
                found.setdefault(name, reference)
        except BrowseError as error:
            self._damaged[folder & RECORD] = error
        return found

    def _entries(self, record: FileRecord) -> Iterator[tuple[bytes, int]]:
        what = f"the folder of file record {record.number}"
        by_type = {each.type: each for each in record.attributes if each.name == "$I30"}
        root = by_type.get(INDEX_ROOT)
        if root is None or root.value is None:
            raise BrowseError(f"{what} is damaged: it has no index")
        yield from self._visible(index.of_root(root.value, what))
        if INDEX not in by_type:
            return
        size = index.block_size(root.value)
        blocks = self._stream(record.number, by_type[INDEX])
        used = self._bits(record.number, by_type.get(BITMAP))
        trouble: BrowseError | None = None
        for number in range(min(blocks.size // size, len(used) * 8)):
            if used[number // 8] >> number % 8 & 1:
                try:
                    yield from self._visible(index.of_block(blocks.read(number * size, size), what))
                except BrowseError as error:
                    trouble = trouble or error
        if trouble:
            raise trouble

    def _bits(self, number: int, bitmap: Attribute | None) -> bytes:
        if bitmap is None:
            raise BrowseError(f"the folder of file record {number} is damaged: it has no bitmap")
        stream = self._stream(number, bitmap)
        return stream.read(0, min(stream.size, LIST_LONGEST * 16))

    @staticmethod
    def _visible(found: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
        return ((name, reference) for name, reference in found if reference & RECORD >= OWN)

    # ── Volume ──────────────────────────────────────────────────────────────────────────────────────

    @override
    def stat(self, path: bytes) -> Node:
        return self._node(path.rsplit(b"/", 1)[-1], self._find(path))

    @override
    def list(self, path: bytes) -> Iterator[Node]:
        """An entry whose record is damaged has mode 0."""
        record = self._find(path)
        if not record.flags & FOLDER:
            raise BrowseError(f"{shown(path)} is no folder")
        names: dict[bytes, int] = {}
        for name, reference in self._entries(record):
            if name not in names:
                names[name] = reference
                yield self._entry(name, reference)
        self._dentries.put(record.number, names)

    def _entry(self, name: bytes, reference: int) -> Node:
        try:
            return self._node(name, self._live(reference))
        except Failed:
            return Node(name=name, inode=reference & RECORD, mode=0, size=0)

    def _node(self, name: bytes, record: FileRecord) -> Node:
        times, attributes = _information(record)
        data = self._data(record)
        target = self._link(record, data, attributes)
        folder = bool(record.flags & FOLDER)
        kind = stat.S_IFLNK if target else stat.S_IFDIR if folder else stat.S_IFREG
        size = 0 if folder else data.size
        spaces = [
            each.value[65] for each in record.attributes if each.type == NAME and each.value and len(each.value) > 65
        ]
        return Node(
            name=name,
            inode=record.number,
            mode=kind | (0o555 if attributes & READ_ONLY and not folder else 0o777),
            size=len(target) if target else size,
            links=max(1, sum(space != index.DOS for space in spaces)),
            mtime=times[1],
            ctime=times[2],
            atime=times[3],
            allocated=0
            if data.value is not None
            else sum(r.length for r in data.runs if r.place is not None) * self._cluster,
            link=target,
        )

    def _link(self, record: FileRecord, data: Attribute, attributes: int) -> bytes:
        reparse = self._reparse(record)
        if reparse:
            return links.target(reparse)
        if attributes & SYSTEM and 8 < data.size <= links.LONGEST:
            return links.interix(self._stream(record.number, data).read(0, data.size))
        return b""

    def _reparse(self, record: FileRecord) -> bytes:
        found = next((each for each in record.attributes if each.type == REPARSE), None)
        return self._stream(record.number, found).read(0, links.LONGEST) if found else b""

    def _regular(self, path: bytes) -> AttributeStream:
        record = self._find(path)
        if record.flags & FOLDER:
            raise BrowseError(f"{shown(path)} is no regular file")
        if words := links.elsewhere(self._reparse(record)):
            raise Unsupported(f"{shown(path)}: {words}", "restore the disk and let its Windows copy the file")
        return AttributeStream(self._window, self._cluster, self._data(record), shown(path))

    @override
    def read(self, path: bytes, offset: int, length: int) -> bytes:
        return self._regular(path).read(offset, length)

    @override
    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        yield from self._regular(path).extents()

    @override
    def attributes(self, path: bytes) -> dict[str, bytes]:
        """The named streams, as ntfs-3g shows them; one of more than 64 KiB is left out."""
        record = self._find(path)
        return {
            f"user.{each.name}": self._stream(record.number, each).read(0, STREAM_LONGEST)
            for each in record.attributes
            if each.type == DATA and each.name and each.size <= STREAM_LONGEST
        }

    @override
    def close(self) -> None:
        self._dentries.clear()


def _listed(raw: bytes, number: int) -> Iterator[int]:
    """The records that an attribute list names."""
    at = 0
    while at + 26 <= len(raw):
        length, reference = struct.unpack_from("<H", raw, at + 4)[0], struct.unpack_from("<Q", raw, at + 16)[0]
        if length < 26:
            raise BrowseError(f"the attribute list of file record {number} is damaged")
        yield reference & RECORD
        at += length


def _information(record: FileRecord) -> tuple[tuple[int, ...], int]:
    """(created, written, changed, read) in ns since 1970, and the file attributes."""
    value = next((each.value for each in record.attributes if each.type == INFORMATION), None)
    if value is None or len(value) < 36:
        return (0, 0, 0, 0), 0
    *times, attributes = struct.unpack_from("<QQQQI", value)
    return tuple((each - EPOCH) * 100 for each in times), attributes


def _folded(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass").upper() if name.isascii() else name.decode("utf-8", "replace").upper()
