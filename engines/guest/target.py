"""What is operated on: a raw image, a qcow2 image or a block device, looked at before it is opened for writing."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.job.errors import Refused

QCOW2 = b"QFI\xfb"
OTHERS = {
    b"KDMV": "vmdk", b"# Disk DescriptorFile": "vmdk", b"vhdxfile": "vhdx", b"conectix": "vpc",
    b"<<< ": "vdi", b"QED\0": "qed", b"LUKS\xba\xbe": "a LUKS container",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """An image: `size` in bytes of the file or device itself, `disk` of the disk in it.

    backing: the file below a qcow2, with its format; empty for none. snapshots: internal ones, by name.
    """

    path: Path
    format: Literal["raw", "qcow2"]
    block: bool
    size: int
    disk: int
    backing: str = ""
    backing_format: str = ""
    snapshots: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """In words."""
        return f"{'block device' if self.block else 'file'}, {self.format}"


def look(path: Path, wanted: str = "") -> Target:
    """What `path` is; `wanted` names the format, empty takes what the first bytes say. Raises Refused."""
    try:
        found = path.stat()
        block = stat.S_ISBLK(found.st_mode)
        if not block and not stat.S_ISREG(found.st_mode):
            raise Refused(f"{path} is neither a file nor a block device", "name a disk image or a disk")
        with path.open("rb") as stream:
            head = stream.read(4096)
            size = stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name a disk image that exists and can be read") from None
    seen = _format(path, head, block)
    if wanted and wanted != seen:
        raise Refused(f"{path} is {seen} by its first bytes, not {wanted}", f"leave the format out, or give {seen}")
    if seen == "raw" and size < 1024 * 1024:
        raise Refused(
            f"{path} is {size} bytes, too small for a disk with a system on it", "name the guest's disk image"
        )
    if seen == "raw":
        if head[510:512] != b"\x55\xaa":
            raise Refused(f"{path} has no partition table in its first sector", "name the whole disk, not a partition")
        return Target(path, "raw", block, size, size)
    return _qcow2(path, block, size)


def _format(path: Path, head: bytes, block: bool) -> Literal["raw", "qcow2"]:
    if head.startswith(QCOW2):
        if struct.unpack(">I", head[4:8])[0] < 2:
            raise Refused(f"{path} is qcow, version 1", f"convert it: qemu-img convert -O qcow2 {path} NEW")
        return "qcow2"
    for magic, name in OTHERS.items():
        if head.startswith(magic) and not block:
            raise Refused(f"{path} is {name}", f"convert it first: qemu-img convert -O qcow2 {path} NEW")
    return "raw"


def _qcow2(path: Path, block: bool, size: int) -> Target:
    if block:
        raise Refused(f"{path} is a block device that holds qcow2", "copy it into a file: qemu-img convert -O qcow2")
    told = told_by_qemu_img("info", "-f", "qcow2", str(path))
    special = told.get("format-specific", {}).get("data", {})
    if told.get("encrypted") or special.get("encrypt"):
        raise Refused(f"{path} is an encrypted qcow2", "decrypt it into a new image: qemu-img convert")
    if special.get("data-file"):
        raise Refused(
            f"{path} keeps its data in another file ({special['data-file']})", "qemu-img convert it into one file"
        )
    if special.get("corrupt") or told.get("dirty-flag"):
        raise Refused(
            f"{path} is marked {'corrupt' if special.get('corrupt') else 'dirty'}", f"qemu-img check -r all {path}"
        )
    backing = told.get("full-backing-filename", "")
    if backing and not Path(backing).is_file() and not Path(backing).is_block_device():
        raise Refused(
            f"{path} has the backing file {backing}, which is not there", "bring it back, or rebase the image"
        )
    return Target(
        path, "qcow2", block, size, int(told["virtual-size"]),
        backing=backing, backing_format=told.get("backing-filename-format", "raw" if backing else ""),
        snapshots=tuple(str(each["name"]) for each in told.get("snapshots", ())),
    )  # fmt: skip


def told_by_qemu_img(verb: str, *arguments: str) -> Any:
    """`qemu-img VERB --output=json`. Raises Refused with its own words."""
    return json.loads(qemu_img(verb, "--output=json", *arguments))


def qemu_img(*arguments: str) -> str:
    """Run qemu-img. Raises Refused with its own words."""
    try:
        done = subprocess.run(["qemu-img", *arguments], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise Refused("qemu-img is not installed", "apt-get install qemu-utils") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
        raise Refused(f"qemu-img {arguments[0]}: {said[-1]}", "look at the image that the message names")
    return done.stdout.decode("utf-8", "replace")
