"""Raw image files and block devices, read without leaving a trace in the page cache."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from typing_extensions import override

from engines.backup.pages.page_cache import PageCache
from engines.backup.sources.lending import Lending
from engines.backup.sources.options import NoHint, PointRef
from engines.backup.sources.source import Format, Source, SourceOpener
from engines.backup.sources.stillness import Claims, Stillness
from engines.host import device
from engines.host.device import device_size
from engines.host.files import open_file
from engines.job.errors import Failed, Refused

QCOW2 = b"QFI\xfb"


class Plain(SourceOpener):
    """Opens regular files and block devices; see Opener."""

    @override
    def knows(self, where: Path, form: Format) -> bool:
        mode = where.stat().st_mode
        return form != "qcow2" and (stat.S_ISREG(mode) or stat.S_ISBLK(mode))

    @override
    def look(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        return self.open(where, form)

    @contextmanager
    @override
    def open(self, where: Path, form: Format) -> Iterator[Source]:
        try:
            descriptor = open_file(where, devices=True)
        except OSError as error:
            raise Refused(f"{where}: {error.strerror}", "name a disk that can be read, or run as root") from None
        try:
            if form == "auto" and _first(descriptor, where) == QCOW2:
                raise Refused(
                    f"{where} begins like a qcow2 image, which a guest can fake in a raw one",
                    "say which it is: --format qcow2, or --format raw",
                )
            with closing(PlainSource(descriptor, where)) as source:
                if not source.size and source.is_device:
                    raise Refused(
                        f"{where} has no bytes: nothing is attached to it, or no medium is in it",
                        "attach the disk first (losetup, nbd-client), or name another",
                    )
                yield source
        finally:
            os.close(descriptor)


def _first(descriptor: int, where: Path) -> bytes:
    try:
        return os.pread(descriptor, 4, 0)
    except OSError as error:
        raise Refused(
            f"{where} cannot be read at byte 0: {error.strerror}", "look at the disk (dmesg, smartctl)"
        ) from None


class PlainSource(Claims, Source):
    """An open file or device; see Source."""

    def __init__(self, descriptor: int, where: Path) -> None:
        found = os.fstat(descriptor)
        self._fd = descriptor
        self._where = where
        self.is_device = stat.S_ISBLK(found.st_mode)
        self._still = Stillness([Path(f"/proc/self/fd/{descriptor}")])  # the name may be another's at the end
        self.size = device_size(descriptor) if self.is_device else found.st_size
        self.words = f"{'device' if self.is_device else 'file'} {where}"
        self.identity = f"{found.st_rdev if self.is_device else (found.st_dev, found.st_ino)} {self.size}"
        self.reads_from = device.of(descriptor) or "its file system is no one device"
        self.reader = 0
        self.keeps = ""
        self.notes: tuple[str, ...] = ()
        self._cache = PageCache(descriptor, self.size)
        self._lending = Lending(descriptor, 0 if self.is_device else self.size)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def close(self) -> None:
        """Let go of what was mapped; the descriptor is the caller's."""
        self._lending.close()

    @property
    @override
    def left_behind(self) -> tuple[str, ...]:
        return ()

    @override
    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._fd, [buffer[done:] if done else buffer], offset + done)
            except OSError as error:
                raise Failed(
                    f"{self._where} cannot be read at byte {offset + done}: {error.strerror}",
                    "no point was made; look at the disk (dmesg, smartctl), the points before are whole",
                ) from None
            if count == 0:
                raise Failed(
                    f"{self._where} ended at byte {offset + done} of {self.size}: it shrank while it was read",
                    "no point was made; back it up again when nobody resizes it",
                )
            done += count

    @override
    def extents(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Devices have no SEEK_DATA (EINVAL): all of it may be data."""
        if self.is_device:
            yield start, end
            return
        while start < end:
            try:
                data = os.lseek(self._fd, start, os.SEEK_DATA)
                hole = os.lseek(self._fd, data, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    self._still_as_long()
                    return
                yield start, end
                return
            if data >= end:
                return
            yield data, min(hole, end)
            start = hole

    def _still_as_long(self) -> None:
        """The end of a file that was cut looks like a hole."""
        now = os.fstat(self._fd).st_size
        if now < self.size:
            raise Failed(
                f"{self._where} ended at byte {now} of {self.size}: it shrank while it was read",
                "no point was made; back it up again when nobody resizes it",
            )

    @override
    def changed(self, since: PointRef) -> Iterable[tuple[int, int]]:
        raise NoHint("nobody keeps record of changes to it")

    @override
    def committed(self, made: PointRef) -> tuple[str, ...]:
        return ()

    @override
    def ahead(self, offset: int) -> None:
        self._cache.ahead(offset)

    @override
    def at_hand(self, offset: int) -> bool:
        return self._cache.was_there(offset)

    @override
    def lend(self, offset: int, length: int) -> memoryview | None:
        return self._lending.lend(offset, length)

    @override
    def take_back(self, offset: int, length: int) -> bool:
        return self._lending.take_back(offset, length)

    @override
    def behind(self, offset: int) -> None:
        self._lending.forget(offset)
        self._cache.behind(offset)

    @override
    def check(self) -> tuple[str, ...]:
        if not self.is_device:
            self._still_as_long()
        return super().check()
