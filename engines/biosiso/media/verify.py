"""Reads a finished disc back: every file by SHA-256, every boot field by number."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from engines.biosiso.media.iso import SECTOR, DiscContent, iso_path
from engines.biosiso.media.layout import BOOT, CATALOG, Entry
from engines.job.errors import Failed

CHUNK = 256 * 1024
TICK = 0.1  # s
HELPS = "try again; if it stays so, the disk under the output is suspect"


def verify(disc: DiscContent, path: Path) -> Generator[tuple[int, int], None, None]:
    """Compare the disc at `path` with its plan; yields (bytes read, total). Raises Failed at the first difference.

    Once it has ended, the disc is on the disk.
    """
    total = sum(entry.size for entry in disc.entries)
    done = 0
    sync = _Sync(path)
    sync.start()
    with path.open("rb", buffering=0) as stream:
        places = _places(stream, disc)
        for entry in disc.entries:
            yield done, total
            for read in _compare(stream.fileno(), entry, places[entry.disc]):
                done += read
                yield done, total
        _boots(stream.fileno(), disc, places)
    while sync.is_alive():
        yield total, total
        sync.join(TICK)
    if sync.failed is not None:
        raise Failed(f"the disc does not reach the disk: {sync.failed.strerror}", HELPS)
    yield total, total


class _Sync(threading.Thread):
    """Brings a file to the disk while it is read back: the one waits, the other computes."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="iso-sync", daemon=True)  # a stop does not wait for a slow disk
        self.path = path
        self.failed: OSError | None = None

    def run(self) -> None:
        try:
            with self.path.open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            self.failed = error


def _places(stream: BinaryIO, disc: DiscContent) -> dict[str, int]:
    """Each file's sector, as pycdlib reads the disc's folders."""
    import pycdlib
    from pycdlib.pycdlibexception import PyCdlibException

    iso = pycdlib.PyCdlib()
    try:
        iso.open_fp(stream)
        try:
            _same_names(iso, disc)
            return {entry.disc: _place(iso, entry) for entry in disc.entries}
        finally:
            iso.close()
    except (PyCdlibException, struct.error, IndexError) as error:
        raise Failed(f"the disc cannot be read back: {error}", HELPS) from None


def _place(iso: Any, entry: Entry) -> int:
    """The file's sector, from ISO 9660 and Joliet alike."""
    record = iso.get_record(iso_path=iso_path(entry.disc))
    joliet = iso.get_record(joliet_path=f"/{entry.name}")
    if record.get_data_length() != entry.size or joliet.get_data_length() != entry.size:
        raise Failed(f"{entry.disc} has {record.get_data_length()} bytes on the disc, not {entry.size}", HELPS)
    if record.is_multi_extent() if hasattr(record, "is_multi_extent") else record.file_flags & 0x80:
        raise Failed(f"{entry.disc} is written twice on the disc", HELPS)
    place = int(record.extent_location())
    if entry.size and place != int(joliet.extent_location()):
        raise Failed(f"{entry.disc} is at two places on the disc", HELPS)
    return place


def _same_names(iso: Any, disc: DiscContent) -> None:
    found = [f"{top.rstrip('/')}/{name}" for top, _, names in iso.walk(iso_path="/") for name in names]
    expected = sorted([*(iso_path(entry.disc) for entry in disc.entries), iso_path(CATALOG)])
    if sorted(found) != expected:
        odd = sorted(set(found) ^ set(expected))[:3] or ["a name twice"]
        raise Failed(f"the disc's names differ from the plan: {', '.join(odd)}", HELPS)


def _compare(descriptor: int, entry: Entry, place: int) -> Iterator[int]:
    patched = _boot_info(entry, place) if entry.disc == BOOT[0] else None
    found, buffer = hashlib.sha256(), memoryview(bytearray(min(CHUNK, max(entry.size, 1))))
    at, end = place * SECTOR, place * SECTOR + entry.size
    while at < end:
        read = os.preadv(descriptor, [buffer[: min(len(buffer), end - at)]], at)
        if not read:
            break
        found.update(buffer[:read])
        at += read
        yield read
    expected = entry.sha256 if patched is None else hashlib.sha256(patched).hexdigest()
    if found.hexdigest() != expected:
        raise _differs(entry)


def _differs(entry: Entry) -> Failed:
    """Why: the source changed since the plan, or the disc does not hold what was written."""
    if entry.source.digest() != (entry.size, entry.sha256):
        return Failed(f"{entry.source.name} changed while the disc was made", "start again, and review what it is now")
    return Failed(f"{entry.disc} reads back differently from {entry.source.name}", HELPS)


def _boot_info(entry: Entry, place: int) -> bytes:
    """isolinux.bin as it must be on the disc: the boot info table in bytes 8 to 64 (mkisofs, -boot-info-table)."""
    with entry.source.open() as stream:
        content = stream.read(entry.size)
    words = struct.unpack(f"<{len(content[64:]) // 4}I", content[64 : 64 + len(content[64:]) // 4 * 4])
    rest = content[64 + len(words) * 4 :]
    checksum = (sum(words) + int.from_bytes(rest, "little")) & 0xFFFFFFFF
    return content[:8] + struct.pack("<4I40x", 16, place, len(content), checksum) + content[64:]


def _boots(descriptor: int, disc: DiscContent, places: dict[str, int]) -> None:
    """El Torito 1.0: boot record in sector 17, validation entry, one entry a platform."""
    record = os.pread(descriptor, SECTOR, 17 * SECTOR)
    if record[:7] != b"\x00CD001\x01" or record[7:39].rstrip(b"\0") != b"EL TORITO SPECIFICATION":
        raise Failed("the disc has no El Torito boot record in sector 17", HELPS)
    catalog = os.pread(descriptor, SECTOR, struct.unpack_from("<I", record, 0x47)[0] * SECTOR)
    if sum(struct.unpack("<16H", catalog[:32])) & 0xFFFF or catalog[30:32] != b"\x55\xaa":
        raise Failed("the disc's boot catalogue has a wrong checksum", HELPS)
    _entry_is(catalog[32:64], places[BOOT[0]], 4, "BIOS")
    if disc.efi:
        if catalog[64] not in (0x90, 0x91) or catalog[65] != 0xEF:
            raise Failed("the disc's boot catalogue has no UEFI section", HELPS)
        _entry_is(catalog[96:128], places[disc.efi], None, "UEFI")


def _entry_is(entry: bytes, place: int, sectors: int | None, which: str) -> None:
    bootable, media, _, _, _, count, at = struct.unpack_from("<BBHBBHI", entry)
    if bootable != 0x88 or media != 0 or at != place or (sectors is not None and count != sectors):
        raise Failed(f"the disc's {which} boot entry does not lead to its boot image", HELPS)
