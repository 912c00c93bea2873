"""The undo log: after a kill at any moment the image is old, or new, or can be made either by what lies here.

Layout of a log folder, version 1:
  surgery.json   Manifest; its presence says that both byte files are whole and on disk
  before.bin     the original bytes of every extent, one behind the other
  after.bin      the new bytes, likewise
  committed      there once all new bytes are on disk and were read back
  undoing        there while original bytes are written back
  undone         there once all original bytes are back on disk and were read back
Writing is idempotent in both directions: every sector holds either state, so it can be taken up after any kill.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from engines.guest.inuse import Hold
from engines.host.files import file_identity, write_whole
from engines.job.errors import Failed, Refused

SECTOR = 512
VERSION = 1


class Extent(msgspec.Struct, frozen=True):
    """A changed stretch of the image's file; `at` is its place in before.bin and after.bin. Bytes."""

    offset: int
    length: int
    at: int
    before: str
    after: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit changes; digests are SHA-256, sizes are of the image's file in bytes."""

    version: int
    target: str
    identity: str
    size_before: int
    size_after: int
    extents: list[Extent]

    @property
    def total(self) -> int:
        """Bytes that change."""
        return sum(each.length for each in self.extents)


class HasRun(Refused):
    """The image has changed since the commit: somebody wrote to it."""


class UndoLog:
    """One run's log in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before, self._after = folder / "before.bin", folder / "after.bin"

    @property
    def prepared(self) -> bool:
        """Whether everything needed to go either way is on disk."""
        return (self.folder / "surgery.json").exists()

    @property
    def committed(self) -> bool:
        """Whether the commit came to its end."""
        return (self.folder / "committed").exists()

    @property
    def undone(self) -> bool:
        """Whether an undo came to its end."""
        return (self.folder / "undone").exists()

    @property
    def unfinished(self) -> bool:
        """Whether a kill may have left the image between two states."""
        return self.prepared and not self.undone and (not self.committed or (self.folder / "undoing").exists())

    def manifest(self) -> Manifest:
        """What it changes. Raises Refused where a later version wrote it."""
        found = msgspec.json.decode((self.folder / "surgery.json").read_bytes(), type=Manifest)
        if found.version != VERSION:
            raise Refused(f"{self.folder} is an undo log of version {found.version}", "use the crashcart that wrote it")
        return found

    # ── before the commit ───────────────────────────────────────────────────────────────────────────

    def prepare(
        self, path: Path, changed: Iterable[tuple[int, bytes]], size: int, held: Path | None = None
    ) -> Manifest:
        """Save both states of every changed stretch of `path`, which is now `size` bytes. Raises Refused when full.

        held: by what name it is opened, where it is held.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            source = held or path
            extents, grown = self._save(source, changed, size)
            found = Manifest(
                version=VERSION, target=str(path.resolve()), identity=file_identity(source.stat()),
                size_before=size, size_after=grown, extents=extents,
            )  # fmt: skip
            for mark in ("committed", "undoing", "undone"):  # so that a mark needs no room later
                write_whole(self.folder / f"{mark}.ready", b"")
            write_whole(self.folder / "surgery.json", msgspec.json.encode(found))
            _sync(self.folder)
        except OSError as error:
            raise Refused(
                f"{self.folder}: {error.strerror}", "make room for the undo log, or set XDG_STATE_HOME"
            ) from None
        return found

    def _save(self, path: Path, changed: Iterable[tuple[int, bytes]], size: int) -> tuple[list[Extent], int]:
        extents: list[Extent] = []
        at, grown = 0, size
        with path.open("rb") as image, self._before.open("wb") as before, self._after.open("wb") as after:
            for offset, content in changed:
                old = os.pread(image.fileno(), len(content), offset).ljust(len(content), b"\0")
                before.write(old)
                after.write(content)
                extents.append(Extent(offset, len(content), at, _digest(old), _digest(content)))
                at += len(content)
                grown = max(grown, offset + len(content))
            for stream in (before, after):
                stream.flush()
                os.fsync(stream.fileno())
        return extents, grown

    # ── both directions ─────────────────────────────────────────────────────────────────────────────

    def commit(self, hold: Hold) -> Iterator[int]:
        """Write the new state, making room first; yields bytes written. Raises Refused before the first byte."""
        found = self.manifest()
        yield from self._write(found, hold, self._after, "after", found.size_after)
        self._mark("committed")

    def undo(self, hold: Hold) -> Iterator[int]:
        """Write the original state; yields bytes written. Raises HasRun where the image holds neither state."""
        found = self.manifest()
        if not (self.folder / "undoing").exists() and (foreign := self.foreign(hold.opened)):
            raise HasRun(
                f"{hold.path} has changed in {len(foreign)} of {len(found.extents)} places", "see what changed it"
            )
        self._mark("undoing")
        yield from self._write(found, hold, self._before, "before", found.size_before)
        self._mark("undone")

    def foreign(self, path: Path) -> list[Extent]:
        """The extents that hold a sector of neither state, as after a boot of the guest."""
        found = self.manifest()
        with path.open("rb") as image, self._before.open("rb") as before, self._after.open("rb") as after:
            return [
                each for each in found.extents if not _either(each, image.fileno(), before.fileno(), after.fileno())
            ]

    def _write(self, found: Manifest, hold: Hold, source: Path, side: str, size: int) -> Iterator[int]:
        path, opened = hold.path, hold.opened
        hold.begin_writing()
        now = opened.stat().st_size
        regular = opened.is_file()
        if regular and not found.size_before <= now <= found.size_after:  # one that was killed has grown in part
            raise HasRun(f"{path} is {now} bytes, not {found.size_before} to {found.size_after}", "see what changed it")
        if foreign := self.foreign(opened):
            raise HasRun(f"{path} has changed in {len(foreign)} of {len(found.extents)} places", "see what changed it")
        done = 0
        with opened.open("r+b", buffering=0) as image, source.open("rb") as content:
            self._make_room(found, image.fileno(), regular, size)
            for each in found.extents:
                wanted = os.pread(content.fileno(), each.length, each.at)
                if _digest(wanted) != getattr(each, side):
                    raise Failed(f"{source} is damaged at {each.at}", "keep both and restore from a backup")
                _put(image.fileno(), wanted[: max(0, size - each.offset)] if regular else wanted, each.offset)
                done += each.length
                yield done
            if regular and side == "before":
                os.ftruncate(image.fileno(), size)
            os.fsync(image.fileno())
            self._read_back(found, image.fileno(), side)

    def _make_room(self, found: Manifest, image: int, regular: bool, size: int) -> None:
        """Allocate every stretch first, so that a full disk refuses before the first byte instead of half-way."""
        if not regular:
            return
        try:
            for each in found.extents:
                inside = min(each.length, size - each.offset)
                if inside > 0 and size == found.size_after:
                    os.posix_fallocate(image, each.offset, inside)
        except OSError as error:
            raise Refused(
                f"{found.target}: {error.strerror}", f"free {found.total} bytes on the image's file system"
            ) from None

    def _read_back(self, found: Manifest, image: int, side: str) -> None:
        os.posix_fadvise(image, 0, 0, os.POSIX_FADV_DONTNEED)
        for each in found.extents:
            content = os.pread(image, each.length, each.offset).ljust(each.length, b"\0")
            if _digest(content) != getattr(each, side):
                where = f"{found.target} at {each.offset}"
                raise Failed(
                    f"{where} does not read back as written",
                    "replace the disk; the bytes are in the undo log",
                    (where,),
                )

    def _mark(self, name: str) -> None:
        ready = self.folder / f"{name}.ready"
        if ready.exists():
            ready.rename(self.folder / name)
        _sync(self.folder)


def _either(extent: Extent, image: int, before: int, after: int) -> bool:
    """Whether every sector of the extent is in one of the two states: a write torn by a kill mixes them."""
    now = os.pread(image, extent.length, extent.offset).ljust(extent.length, b"\0")
    old = os.pread(before, extent.length, extent.at)
    new = os.pread(after, extent.length, extent.at)
    if now in (old, new):
        return True
    sectors = range(0, extent.length, SECTOR)
    return all(now[at : at + SECTOR] in (old[at : at + SECTOR], new[at : at + SECTOR]) for at in sectors)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _put(descriptor: int, content: bytes, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
