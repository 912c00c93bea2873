"""What a guest is beside its disks, as one archive that is backed up like a disk: equal guests give equal bytes."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from typing_extensions import override

from engines.backup.sources.guest.domain import DomainGuest
from engines.backup.sources.plain import PlainSource
from engines.backup.sources.source import Source
from engines.host.files import open_file
from engines.job.errors import Refused

DESCRIPTION = "domain.xml"
NVRAM = "nvram"
LARGEST = 64 * 1024 * 1024  # bytes of all that is in one
INSIDE = re.compile(r"(domain\.xml|nvram|tpm/[A-Za-z0-9._/-]+)$")


def write(guest: DomainGuest, path: Path) -> None:
    """The archive at `path`. Raises Refused where a part cannot be read."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, mode in _parts(guest):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))


def _parts(guest: DomainGuest) -> Iterator[tuple[str, bytes, int]]:
    yield DESCRIPTION, guest.text.encode("utf-8", "surrogateescape"), 0o600
    try:
        if guest.nvram and guest.nvram.exists():
            yield NVRAM, _content(guest.nvram), 0o600
        folder = guest.tpm
        for path in sorted(folder.rglob("*")) if folder and folder.is_dir() else ():
            inside = f"tpm/{path.relative_to(folder)}" if folder else ""
            if stat.S_ISREG(path.lstat().st_mode) and not path.name.startswith(".") and INSIDE.match(inside):
                yield inside, _content(path), 0o600
    except OSError as error:
        raise Refused(f"{error.filename} of {guest.name} cannot be read: {error.strerror}", "run as root") from None


def _content(path: Path) -> bytes:
    """A small file that QEMU's user may exchange: no link of his is followed, no FIFO waited for. Raises OSError."""
    with os.fdopen(open_file(path, follow=False), "rb") as stream:
        found = stream.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST >> 20} MiB", str(path))
    return found


def read(content: bytes) -> dict[str, bytes]:
    """By name, what is in an archive: `domain.xml`, `nvram`, `tpm/…`. Raises Refused for any other content."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in archive:
                stream = archive.extractfile(entry) if entry.isreg() else None
                if stream is None or not INSIDE.match(entry.name) or ".." in entry.name.split("/"):
                    raise Refused(f"it has {entry.name!r}, which no guest's record has", "name a point VM/guest@TIME")
                found[entry.name] = stream.read()
    except tarfile.TarError as error:
        raise Refused("it is a disk, no guest's record", "name a point VM/guest@TIME") from error
    if DESCRIPTION not in found:
        raise Refused("it is no guest's record: it has no description", "name a point VM/guest@TIME")
    return found


class RecordSource(PlainSource):
    """The archive as a source; what it says was read in the moment of the disks. See Source."""

    def __init__(self, descriptor: int, path: Path, guest: DomainGuest) -> None:
        super().__init__(descriptor, path)
        self.words = f"description of guest {guest.name} ({guest.uuid})"
        self.identity = f"guest {guest.uuid or guest.name}"

    @property
    @override
    def consistency(self) -> str:
        return "as libvirt had it"

    @property
    @override
    def one_moment(self) -> bool:
        return True


def opened(guest: DomainGuest, path: Path) -> AbstractContextManager[Source]:
    """The record of the guest as it is now, written to `path`, alive within the `with`. Raises Refused."""
    write(guest, path)
    return _open(guest, path)


@contextmanager
def _open(guest: DomainGuest, path: Path) -> Iterator[Source]:
    with path.open("rb") as stream, closing(RecordSource(stream.fileno(), path, guest)) as source:
        yield source
