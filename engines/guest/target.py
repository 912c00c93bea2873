"""What is operated on: a raw image, a qcow2 image or a block device, looked at before it is opened for writing.

Another hypervisor's image is looked at, too, where the result goes into a new one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.guest import containers
from engines.guest.containers import DRIVER, Container, Ends
from engines.host import image
from engines.host.files import change_stamp, open_file
from engines.host.qemu_img import WITHIN, QemuImgFailed
from engines.host.qemu_img import qemu_img as bounded_qemu_img
from engines.job.errors import Refused

OTHERS = {
    b"KDMV": "vmdk", b"# Disk DescriptorFile": "vmdk", b"vhdxfile": "vhdx", b"conectix": "vpc",
    b"<<< ": "vdi", b"QED\0": "qed", b"LUKS\xba\xbe": "a LUKS container",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """An image: `size` in bytes of the file or device itself, `disk` of the disk in it.

    backing: the file below a qcow2, with its format; empty for none. below: all files there, the next first.
    snapshots: internal ones, by name.
    identity: which file or device it is, and as it was then, by `change_stamp`.
    held: by what name it is opened while it is held.
    """

    path: Path
    format: Literal["raw", "qcow2"] | Container
    block: bool
    size: int
    disk: int
    backing: str = ""
    backing_format: str = ""
    below: tuple[tuple[Path, str], ...] = ()
    snapshots: tuple[str, ...] = ()
    identity: str = ""
    held: Path | None = None

    @property
    def source(self) -> Path:
        """What is opened, here and by QEMU: what is held, or else what lies at its real path.

        A VMDK finds its parts beside its name.
        """
        return self.held if self.held and self.format != "vmdk" else self.path.resolve()

    @property
    def kind(self) -> str:
        """In words."""
        return f"{'block device' if self.block else 'file'}, {self.format}"

    @property
    def driver(self) -> str:
        """The format by QEMU's name for it."""
        return next((driver for name, driver in DRIVER.items() if name == self.format), self.format)

    @property
    def writable(self) -> bool:
        """Whether an operation can write it in place."""
        return self.format in ("raw", "qcow2")


def look(
    path: Path, wanted: str = "", backing: Sequence[str] = (), *, bare: bool = False, foreign: bool = False
) -> Target:
    """What `path` is. Raises Refused.

    wanted: names the format; empty takes what the host says of it. backing: files in other folders that may lie below.
    bare: a disk that is one file system, without a partition table, will do. foreign: another hypervisor's image, too.
    """
    try:
        found = path.stat()
        if not stat.S_ISBLK(found.st_mode) and not stat.S_ISREG(found.st_mode):
            raise Refused(f"{path} is neither a file nor a block device", "name a disk image or a disk")
        with os.fdopen(open_file(path, devices=True), "rb") as stream:
            found = os.fstat(stream.fileno())
            head = stream.read(4096)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 512))
            ends = Ends(head, stream.read(512))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name a disk image that exists and can be read") from None
    block, identity = stat.S_ISBLK(found.st_mode), change_stamp(found)
    if not block and (container := containers.named(path, ends, wanted)):
        if not foreign:
            raise Refused(f"{path} is {container}", f"convert it first: qemu-img convert -O qcow2 {path} NEW")
        told = told_by_qemu_img("info", "-f", DRIVER[container], str(path))
        return Target(path, container, block, size, int(told["virtual-size"]), identity=identity)
    seen = _format(path, head, block, wanted)
    if seen == "raw" and size < 1024 * 1024:
        raise Refused(
            f"{path} is {size} bytes, too small for a disk with a system on it", "name the guest's disk image"
        )
    if seen == "raw":
        if head[510:512] != b"\x55\xaa" and not bare:
            raise Refused(f"{path} has no partition table in its first sector", "name the whole disk, not a partition")
        return Target(path, "raw", block, size, size, identity=identity)
    return dataclasses.replace(_qcow2(path, block, size, backing), identity=identity)


def _format(path: Path, head: bytes, block: bool, wanted: str) -> Literal["raw", "qcow2"]:
    try:
        found = image.settled(path, head, wanted)
    except image.Untrusted as why:
        raise Refused(why.why, why.what_helps) from None
    if found == "qcow2" and int.from_bytes(head[4:8], "big") < 2:
        raise Refused(f"{path} is qcow, version 1", f"convert it: qemu-img convert -O qcow2 {path} NEW")
    for magic, name in OTHERS.items() if not wanted else ():
        if head.startswith(magic) and not block:
            helps = f"convert it first: qemu-img convert -O qcow2 {path} NEW; or say that it is a disk: --format raw"
            raise Refused(f"{path} is {name}", helps)
    return found


def _qcow2(path: Path, block: bool, size: int, fit: Sequence[str]) -> Target:
    if block:
        raise Refused(f"{path} is a block device that holds qcow2", "copy it into a file: qemu-img convert -O qcow2")
    try:
        layers = image.chain(path, fit)
    except image.Untrusted as why:
        raise Refused(why.why, why.what_helps) from None
    told = told_by_qemu_img("info", "-f", "qcow2", str(path))
    special = told.get("format-specific", {}).get("data", {})
    if told.get("encrypted") or special.get("encrypt"):
        raise Refused(f"{path} is an encrypted qcow2", "decrypt it into a new image: qemu-img convert")
    if special.get("corrupt") or told.get("dirty-flag"):
        raise Refused(
            f"{path} is marked {'corrupt' if special.get('corrupt') else 'dirty'}", f"qemu-img check -r all {path}"
        )
    below, form = layers[1] if len(layers) > 1 else ("", "")
    return Target(
        path, "qcow2", block, size, int(told["virtual-size"]),
        backing=str(below), backing_format=form, below=tuple(layers[1:]),
        snapshots=tuple(str(each["name"]) for each in told.get("snapshots", ())),
    )  # fmt: skip


def told_by_qemu_img(verb: str, *arguments: str) -> Any:
    """`qemu-img VERB --output=json`. Raises Refused with its own words."""
    return json.loads(qemu_img(verb, "--output=json", *arguments))


def qemu_img(*arguments: str, within: float = WITHIN) -> str:
    """Run qemu-img, which is ended after `within` seconds. Raises Refused with its own words."""
    try:
        return bounded_qemu_img(*arguments, within=within).decode("utf-8", "replace")
    except QemuImgFailed as failed:
        if failed.missing:
            raise Refused("qemu-img is not installed", "apt-get install qemu-utils") from None
        raise Refused(f"qemu-img {arguments[0]}: {failed}", "look at the image that the message names") from None
