"""Dirty bitmaps of our own in qcow2 images: QEMU itself keeps record there of what it writes.

A bitmap is added before the image is read and named after the session that reads it, so that it can only ever be taken
for the point which that session made. Source: QEMU, docs/interop/bitmaps.rst and qcow2.txt.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engines.backup.sources.options import NoHint, PointRef, SourceOptions
from engines.backup.sources.server import asked, serving
from engines.backup.sources.status import NoStatus, marked
from engines.host.image import opened
from engines.job.errors import CrashcartError, Refused

PREFIX = "crashcart-"
KEEPS = "a dirty bitmap is written into the image's metadata; QEMU marks in it what a VM writes until the next backup"


class Bitmap(msgspec.Struct):
    """A bitmap as `qemu-img info` shows it. Flags: auto while it records, in-use where it was not closed well."""

    name: str
    flags: list[str] = []


class _Data(msgspec.Struct):
    compat: str = ""
    bitmaps: list[Bitmap] = []


class _Specific(msgspec.Struct):
    data: _Data = msgspec.field(default_factory=_Data)


class _Info(msgspec.Struct):
    specific: _Specific = msgspec.field(name="format-specific", default_factory=_Specific)


class BitmapRecord:
    """The bitmap of this run; `done` once its point is there. trouble: what could not be put in order, in words."""

    def __init__(self, where: Path, made: PointRef) -> None:
        self.where = where
        self.own = name(made)
        self.done = False
        self.trouble: list[str] = []

    def close(self) -> None:
        """Leave one bitmap: the new one where its point is there, else those that were before."""
        try:
            found = [bitmap.name for bitmap in _info(self.where).bitmaps]
            family = self.own.rpartition("-")[0] + "-"
            gone = [each for each in found if each.startswith(family) and (each != self.own) == self.done]
            for each in gone:
                asked(self.where, "bitmap", "--remove", _alone(self.where), each)
        except CrashcartError as error:
            self.trouble.append(f"an old dirty bitmap stays in {self.where} until the next backup: {error}")


def name(made: PointRef) -> str:
    """The name of the bitmap that counts from that point on."""
    return f"{PREFIX}{made.repo[:8]}-{made.session}"


def fit(where: Path) -> None:
    """Raise Refused where the image cannot have a bitmap."""
    if _info(where).compat == "0.10":
        raise Refused(
            f"{where} is qcow2 of version 2, which has no dirty bitmaps",
            "leave --hints away, or raise its version: qemu-img amend -o compat=1.1",
        )
    if not os.access(where, os.W_OK):
        raise Refused(f"{where} cannot be written, and a dirty bitmap lies in the image", "leave --hints away")


@contextmanager
def recording(where: Path, wish: SourceOptions) -> Iterator[BitmapRecord | None]:
    """A bitmap that records from now on, in order when the `with` ends. Raises Refused."""
    if wish.hints != "bitmap" or wish.made is None:
        yield None
        return
    fit(where)
    record = BitmapRecord(where, wish.made)
    asked(where, "bitmap", "--add", _alone(where), record.own)
    try:
        yield record
    finally:
        record.close()


def dirty(where: Path, since: PointRef, size: int) -> Iterator[tuple[int, int]]:
    """Ranges written since that point. Raises NoHint."""
    wanted = name(since)
    found = next((bitmap for bitmap in _info(where).bitmaps if bitmap.name == wanted), None)
    if found is None:
        raise NoHint(f"the image has no dirty bitmap that began with {since.point}")
    if "in-use" in found.flags or "auto" not in found.flags:
        why = "was not closed well, as after a crash of the VM" if "in-use" in found.flags else "was switched off"
        raise NoHint(f"the dirty bitmap since {since.point} {why}")
    with tempfile.TemporaryDirectory(prefix="crashcart-nbd-") as folder:
        path = Path(folder) / "s"
        try:
            with serving([(where, "qcow2")], path, f"--bitmap={wanted}"):
                yield from marked(path, f"qemu:dirty-bitmap:{wanted}", size)
        except (CrashcartError, NoStatus, OSError) as error:
            raise NoHint(f"qemu-nbd does not tell what is in the dirty bitmap: {error}") from None


def _alone(where: Path) -> str:
    """The image without what lies below it, where none of its bitmaps lies."""
    return opened([(where, "qcow2")])


def _info(where: Path) -> _Data:
    said = asked(where, "info", "--output=json", "-f", "qcow2", str(where))
    return msgspec.json.decode(said, type=_Info).specific.data
