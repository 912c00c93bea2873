"""Writes an ISO 9660 level 1 disc with Joliet, Rock Ridge and El Torito that is the same bytes every time."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import struct_time
from typing import Any, BinaryIO

import msgspec

from engines.biosiso.media.layout import BOOT, CATALOG, Entry
from engines.biosiso.vendor.sources import unreadable
from engines.job.errors import CrashcartError, Failed

SECTOR = 2048
MBR_ID = 0x43524153  # fixed: a random one would make every build differ
TICK = 0.1  # s between looks at the writer
BLOCK = 512 * 1024  # bytes copied at once; measured: larger ones fall out of the processor's cache


class DiscContent(msgspec.Struct, frozen=True, kw_only=True):
    """What to write. `epoch` is the one time in it (Unix s); `efi` the disc path of a UEFI boot image, if any."""

    entries: tuple[Entry, ...]
    volume: str
    epoch: int
    hybrid: bool = False
    efi: str = ""


def iso_path(disc: str) -> str:
    """A level 1 path as ISO 9660 writes it: /DIR/NAME.EXT;1, the dot also where there is no ending."""
    name = disc.rpartition("/")[2]
    return f"/{disc}{'' if '.' in name else '.'};1"


def size(entries: Sequence[Entry]) -> int:
    """Bytes that a disc of these files needs, rounded up."""
    return sum(-(-entry.size // SECTOR) * SECTOR + 3 * 512 for entry in entries) + 2 * 1024 * 1024


def write(disc: DiscContent, out: Path) -> Generator[tuple[int, int], None, None]:
    """Write to `out`, which must not exist; yields (bytes done, total). Closing the generator stops within a chunk.

    Raises Failed where a source or the disk gives out; what is at `out` is the caller's to remove. It may still be
    on its way to the disk: `verify` waits for that.
    """
    writer = _Writer(disc, out)
    writer.start()
    try:
        while not writer.finished.wait(TICK):
            if writer.total:
                yield writer.done, writer.total
    finally:
        writer.abort.set()
        writer.join()
    if writer.error is not None:
        raise writer.error
    yield writer.total, writer.total


class _Aborted(Exception):
    """Nobody waits for the disc any more."""


class _Writer(threading.Thread):
    """pycdlib tells its progress by a callback, which cannot yield: it runs beside the generator that does."""

    def __init__(self, disc: DiscContent, out: Path) -> None:
        super().__init__(name="iso-writer")
        self.disc, self.out = disc, out
        self.done = self.total = 0
        self.error: Exception | None = None
        self.finished, self.abort = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            with self.out.open("xb") as stream, uncollected():
                _master(self.disc, stream, self._progress)
        except _Aborted:
            self.done = 0
        except CrashcartError as error:
            self.error = error
        except OSError as error:
            self.error = Failed(f"{self.out}: {error.strerror or error}", "make room there, or name another output")
        except Exception as error:  # noqa: BLE001  pycdlib raises many kinds; the generator's side raises them again
            self.error = error
        finally:
            self.finished.set()

    def _progress(self, done: int, total: int) -> None:
        if self.abort.is_set():
            raise _Aborted
        self.done, self.total = done, total


def _master(disc: DiscContent, out: BinaryIO, progress: Any) -> None:
    import pycdlib

    with pinned(disc.epoch):
        iso: Any = pycdlib.PyCdlib()
        iso.new(interchange_level=1, joliet=3, rock_ridge="1.09", vol_ident=disc.volume, sys_ident="DOS")
        try:
            _add_folders(iso, disc.entries)
            for entry in disc.entries:
                iso.add_fp(Stream(entry), entry.size, file_mode=0o100444, **_paths(entry.disc, entry.name, ";1"))
            _add_boot(iso, disc)
            iso.write_fp(out, blocksize=BLOCK, progress_cb=lambda done, total: progress(done, total))
        finally:
            iso.close()


def _paths(disc: str, name: str, version: str) -> dict[str, str]:
    path = iso_path(disc) if version else f"/{disc}"
    return {"iso_path": path, "rr_name": name.rpartition("/")[2], "joliet_path": f"/{name}"}


def _add_folders(iso: Any, entries: Sequence[Entry]) -> None:
    made: set[str] = set()
    for entry in entries:
        folders, names = entry.disc.split("/")[:-1], entry.name.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            disc, name = "/".join(folders[:depth]), "/".join(names[:depth])
            if disc not in made:
                made.add(disc)
                iso.add_directory(**_paths(disc, name, ""))


def _add_boot(iso: Any, disc: DiscContent) -> None:
    iso.add_eltorito(
        iso_path(BOOT[0]),
        bootcatfile=iso_path(CATALOG),
        rr_bootcatname="boot.cat",
        joliet_bootcatfile="/isolinux/boot.cat",
        boot_load_size=4,
        boot_info_table=True,
    )
    if disc.efi:
        iso.add_eltorito(iso_path(disc.efi), efi=True, platform_id=0xEF)
    if disc.hybrid:
        iso.add_isohybrid(mbr_id=MBR_ID)


class Stream(io.RawIOBase):
    """An entry's bytes, opened when pycdlib comes to them and closed behind the last: thousands need no descriptors.

    Raises Failed where the source ends early, which pycdlib would fill with zeros.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry
        self._open: BinaryIO | None = None
        self._at = 0

    def seek(self, offset: int, _whence: int = 0) -> int:
        """To the beginning, which is all that pycdlib asks of a whole file."""
        self._done()
        self._at = 0
        if offset:
            self.read(offset)
        return self._at

    def tell(self) -> int:
        """Bytes read so far."""
        return self._at

    def read(self, wanted: int = -1) -> bytes:
        """Exactly `wanted` bytes, or all that is left of the entry."""
        left = self._entry.size - self._at
        wanted = left if wanted < 0 else min(wanted, left)
        if self._open is None and wanted:
            self._open = self._entry.source.open()
        parts: list[bytes] = []
        missing = wanted
        while missing and self._open is not None:
            part = self._read(self._open, missing)
            if not part:
                raise Failed(
                    f"{self._entry.source.name} became shorter than {self._entry.size} bytes",
                    "put it back and start again",
                )
            parts.append(part)
            missing -= len(part)
        self._at += wanted
        if self._at == self._entry.size:
            self._done()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, stream: BinaryIO, wanted: int) -> bytes:
        try:
            return stream.read(wanted)
        except unreadable() as error:
            raise Failed(f"{self._entry.source.name} cannot be read: {error}", "put it back and start again") from None

    def _done(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> None:
        """Let go of the source."""
        self._done()
        super().close()


class _Clock:
    """The time module as pycdlib sees it: always the same moment, in UTC, worked out once for thousands of records."""

    def __init__(self, epoch: int) -> None:
        self._epoch = float(epoch)
        self._moment = time.gmtime(epoch)

    def time(self) -> float:
        return self._epoch

    def gmtime(self, at: float | None = None) -> struct_time:
        return self._moment if at is None or at == self._epoch else time.gmtime(at)

    localtime = gmtime

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold the garbage collector off: pycdlib makes tens of thousands of records, and all of them live to the end."""
    import gc

    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


_pinning = threading.Lock()


@contextmanager
def pinned(epoch: int) -> Iterator[None]:
    """Give pycdlib's own modules one fixed clock, and nobody else.

    pycdlib stamps volumes and folders with time.time() and takes no time for them, so that two builds would
    differ. One build at a time in a process: a second waits for the lock.
    """
    from pycdlib import dates, headervd, pycdlib, utils

    modules: tuple[Any, ...] = (dates, headervd, pycdlib, utils)
    with _pinning:
        clock = _Clock(epoch)
        for module in modules:
            module.time = clock
        try:
            yield
        finally:
            for module in modules:
                module.time = time
