"""What format an image has is said by who runs the host, never by bytes that its guest can write.

A guest owns every byte of a raw disk, the first ones too: one that writes a qcow2 header there has whoever guesses
the format open whatever file it names as its backing file. Source: QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.host import libvirt
from engines.host.files import open_file

QCOW2 = b"QFI\xfb"
EXTERNAL_DATA = 1 << 2  # incompatible feature bit
BACKING_FORMAT = 0xE2792ACA
DATA_FILE = 0x44415441
LARGEST_CLUSTER = 21  # bits: QEMU reads extensions as far as the first cluster goes
DEEPEST = 64  # files of a chain
LONGEST_NAME = 1023  # bytes, as the format says
PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Untrusted(Exception):
    """An image that is not opened: `why`, and `what_helps`."""

    def __init__(self, why: str, what_helps: str) -> None:
        super().__init__(why, what_helps)
        self.why, self.what_helps = why, what_helps


@dataclass(frozen=True)
class Header:
    """What a qcow2 header says of other files; empty where it names none."""

    version: int
    backing: str = ""
    backing_format: str = ""
    external: bool = False


def called_qcow2(path: Path) -> bool:
    """Whether a libvirt domain, or else the file's name, says that it is qcow2."""
    said = libvirt.format_of(path)
    return said == "qcow2" if said else path.suffix.lower() == ".qcow2"


def settled(path: Path, head: bytes, wanted: str) -> Literal["raw", "qcow2"]:
    """The format to open it by: the one that is wanted, else raw, or qcow2 where the host says so, too.

    head: its first bytes. wanted: raw, qcow2 or empty. Raises Untrusted.
    """
    if wanted == "raw":
        return "raw"
    if not head.startswith(QCOW2):
        if wanted == "qcow2":
            raise Untrusted(f"{path} does not begin like qcow2", "give --format raw, or name another image")
        return "raw"
    if wanted == "qcow2" or called_qcow2(path):
        return "qcow2"
    raise Untrusted(
        f"{path} begins like a qcow2 image, which a guest can fake in a raw one",
        "say which it is: --format raw or --format qcow2",
    )


def header(path: Path) -> Header:
    """What its header says, read here: no tool is asked that might open what it names. Raises Untrusted, OSError."""
    descriptor = open_file(path, devices=True)
    try:
        head = os.pread(descriptor, 65536, 0)
        return _header(path, descriptor, head)
    except struct.error:
        raise Untrusted(f"{path} has a qcow2 header that is cut off", "name a whole image") from None
    finally:
        os.close(descriptor)


def _header(path: Path, descriptor: int, head: bytes) -> Header:
    magic, version, backing_at, backing_length = struct.unpack_from(">4sIQI", head)
    if magic != QCOW2:
        raise Untrusted(f"{path} does not begin like qcow2", "give --format raw, or name another image")
    features, length = (struct.unpack_from(">Q", head, 72)[0], struct.unpack_from(">I", head, 100)[0])
    if version < 3:
        features, length = 0, 72
    if backing_at and not 0 < backing_length <= LONGEST_NAME:
        raise Untrusted(f"{path} names its backing file by {backing_length} bytes", "name a whole image")
    backing = os.fsdecode(os.pread(descriptor, backing_length, backing_at)) if backing_at else ""
    cluster = struct.unpack_from(">I", head, 20)[0]
    if not 9 <= cluster <= LARGEST_CLUSTER:
        raise Untrusted(f"{path} has clusters of 2^{cluster} bytes, which no qcow2 has", "name a whole image")
    head = os.pread(descriptor, 1 << cluster, 0)
    try:
        found = _extensions(head, length, min(backing_at or len(head), len(head)))
    except ValueError:
        raise Untrusted(f"{path} has a header with an extension that is cut off", "name a whole image") from None
    external = bool(features & EXTERNAL_DATA) or DATA_FILE in found
    return Header(version, backing, found.get(BACKING_FORMAT, b"").decode("ascii", "replace"), external)


def _extensions(head: bytes, at: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + 8 <= end:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        if at + 8 + length > end:
            raise ValueError  # what comes behind it, QEMU may read and we not
        found[kind] = head[at + 8 : at + 8 + length]
        at += 8 + -(-length // 8) * 8
    return found


Layers = Sequence[tuple[Path, str]]


def node(layers: Layers) -> dict[str, object]:
    """A qcow2 or raw image as QEMU opens it: each file and format named, so that no header of theirs leads elsewhere.

    layers: as of `chain`, the top first.
    """
    (path, form), *below = layers
    kind = "host_device" if path.is_block_device() else "file"
    found: dict[str, object] = {"driver": form, "file": {"driver": kind, "filename": str(path)}}
    if form == "qcow2":
        found["backing"] = node(below) if below else None
    return found


def opened(layers: Layers) -> str:
    """The same as a file name that every tool of QEMU takes, without a format beside it."""
    return name_of(node(layers))


def name_of(found: dict[str, object]) -> str:
    """A node as a file name; letters as they are, for a header has little room."""
    return "json:" + json.dumps(found, ensure_ascii=False)


def chain(path: Path, allowed: Sequence[str] = ()) -> list[tuple[Path, str]]:
    """A qcow2 image and the files below it, with their formats, the top first.

    allowed: files in other folders that the technician named. Raises Untrusted.
    """
    fit = {Path(each).resolve() for each in allowed}
    home = path.resolve().parent
    found = [(path.resolve(), "qcow2")]
    while found[-1][1] == "qcow2":
        each = found[-1][0]
        try:
            said = header(each)
        except OSError as error:
            raise Untrusted(f"{each}: {error.strerror}", "bring it back, or rebase the image") from None
        if said.external:
            raise Untrusted(f"{each} keeps its data in another file", "qemu-img convert it into one file")
        if not said.backing:
            break
        below = _below(each, said)
        if below.parent != home and below not in fit:
            raise Untrusted(
                f"{path} has the backing file {below}, which lies outside its folder",
                f"where that is meant, name it: --backing {below}",
            )
        if below in (known for known, _ in found) or len(found) == DEEPEST:
            raise Untrusted(f"{path} has a chain of backing files without an end", "rebase the image")
        found.append((below, said.backing_format))
    return found


def _below(path: Path, said: Header) -> Path:
    """The backing file of an image. Raises Untrusted."""
    if PROTOCOL.match(said.backing):
        raise Untrusted(f"{path} has the backing file {said.backing!r}, which is no path", "rebase the image")
    if said.backing_format not in ("raw", "qcow2"):
        named = f"the format {said.backing_format!r}" if said.backing_format else "no format"
        raise Untrusted(
            f"{path} names {named} for its backing file {said.backing}",
            f"write down which it has, raw or qcow2: qemu-img rebase -u -f qcow2 -b {said.backing} -F FORMAT {path}",
        )
    below = (path.parent / said.backing).resolve()
    if not below.is_file() and not below.is_block_device():
        raise Untrusted(
            f"{path} has the backing file {below}, which is not there", "bring it back, or rebase the image"
        )
    return below
