"""The overlay that takes all writes, and the bytes it would change in the image's own file.

A qcow2 image gets two layers: a lower one over the *file's* bytes, in which the container's own bookkeeping lands
too, and an upper one over the guest's disk. So for each kind of image a commit writes plain bytes into one file,
and an undo puts back plain bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.guest.target import Target, qemu_img, told_by_qemu_img
from engines.host.image import Layers, name_of, node, opened
from engines.host.qemu_img import WORKS_WITHIN
from engines.job.errors import Refused

CLUSTER = 65536  # bytes; qcow2's default
SHORT = 400  # bytes of a name that stands within another
GROWTH = 1 << 40  # bytes a qcow2 container may grow on the lower layer; sparse


@dataclass(frozen=True)
class Overlay:
    """`top` is what an appliance or a QEMU opens (qcow2); `lower` holds the changed bytes of the image's file."""

    top: Path
    lower: Path
    target: Target

    def fold(self, top: Path | None = None) -> None:
        """Bring what is on the top down to the lower layer; the image itself is only read."""
        if self.target.format == "qcow2":
            qemu_img("commit", "-q", "-d", "-f", "qcow2", str(top or self.top), within=WORKS_WITHIN)

    def changed(self) -> Iterator[tuple[int, bytes]]:
        """(offset in the image's file, new bytes), in clusters and in order; what stays the same is left out."""
        with self.lower.open("rb") as new, self.target.source.open("rb") as old:
            for start, length, place in _ranges(self.lower):
                for offset in range(start, start + length, CLUSTER):
                    size = min(CLUSTER, start + length - offset)
                    content = os.pread(new.fileno(), size, place + offset - start) if place >= 0 else b""
                    content = content.ljust(size, b"\0")
                    if offset + size > self.target.size:
                        content = _trimmed(content, offset, self.target)
                    before = os.pread(old.fileno(), len(content), offset).ljust(len(content), b"\0")
                    if content and (content != before or offset >= self.target.size):
                        yield offset, content


def _trimmed(content: bytes, offset: int, target: Target) -> bytes:
    """A disk does not grow: raw content ends with it. A container does, by whole clusters."""
    return content if target.format == "qcow2" else content[: max(0, target.size - offset)]


def _ranges(layer: Path) -> Iterator[tuple[int, int, int]]:
    """(start, length, offset in the layer's file or -1 for zeros) of what the layer itself holds."""
    for part in told_by_qemu_img("map", "-f", "qcow2", str(layer)):
        if part["depth"] == 0 and (part["data"] or part["zero"]) and part.get("present", True):
            if part["zero"]:
                yield part["start"], part["length"], -1
            elif "offset" in part:
                yield part["start"], part["length"], part["offset"]


def create(target: Target, folder: Path) -> Overlay:
    """A fresh overlay in `folder`. The image is opened for reading only. Raises Refused."""
    top = folder / "overlay.qcow2"
    image = str(target.source)
    if target.format != "qcow2":
        qemu_img("create", "-q", "-f", "qcow2", "-b", _plain(image, target.driver), "-F", target.driver, str(top))
        return Overlay(top, top, target)
    lower = folder / "container.qcow2"
    room = -(-target.size // CLUSTER) * CLUSTER + GROWTH
    qemu_img("create", "-q", "-f", "qcow2", "-b", _plain(image), "-F", "raw", str(lower), str(room))
    qemu_img("create", "-q", "-f", "qcow2", "-b", name_of(_nested(lower, target)), "-F", "qcow2", str(top))
    return Overlay(top, lower, target)


def _plain(path: str, driver: str = "raw") -> str:
    """A path that QEMU takes as nothing else, whatever colons it has."""
    return path if ":" not in path else name_of({"driver": driver, "file": {"driver": "file", "filename": path}})


def _nested(lower: Path, target: Target) -> dict[str, object]:
    inner: dict[str, object] = {"driver": "qcow2", "file": {"driver": "file", "filename": str(lower)}}
    found: dict[str, object] = {"driver": "qcow2", "file": inner}
    found["backing"] = _below(target.below, lower.parent) if target.below else None
    return found


def _below(layers: Layers, folder: Path) -> dict[str, object]:
    """The files below, none found by a header of theirs; many of them by way of empty layers in `folder`.

    A header holds a name of 1023 bytes, which is two or three files.
    """
    if len(layers) == 1 or len(os.fsencode(opened(layers))) <= SHORT:
        return node(layers)
    named = {**node(layers[:1]), "backing": _below(layers[1:], folder)}
    layer = folder / f"below{len(layers)}.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", name_of(named), "-F", "qcow2", str(layer))
    return {"driver": "qcow2", "file": {"driver": "file", "filename": str(layer)}}


def copy(overlay: Path, to: Path) -> Path:
    """A copy of a quiet overlay, checked: what a flushed appliance has written is whole. Raises Refused."""
    try:
        _sparse_copy(overlay, to)
    except OSError as error:
        raise Refused(
            f"{to.parent.parent}: {error.strerror} while the overlay is copied",
            "the image is untouched; make room there, or set TMPDIR to a folder that has it",
        ) from None
    qemu_img("check", "-q", "-f", "qcow2", str(to), within=WORKS_WITHIN)
    return to


def _sparse_copy(source: Path, to: Path) -> None:
    """Byte for byte, holes kept."""
    with source.open("rb") as old, to.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        os.truncate(new.fileno(), size)
        at = 0
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # nothing but a hole is left
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += os.pwrite(new.fileno(), os.pread(old.fileno(), min(1 << 20, end - at), at), at)
