"""Disks for the browser's tests, made by the real mkfs tools; a loop mount is the judge of what is on them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.backup.files.model import Volume
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.quick import open_quick

MIB = 1024 * 1024


class Image:
    """An image file as a Source."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size
        self.reads = 0

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        os.close(self._descriptor)


def run(*argv: str | Path, given: str | None = None) -> str:
    """A tool that must succeed."""
    names = {**os.environ, "LC_ALL": "C.UTF-8"}  # mtools writes names by the locale
    done = subprocess.run(
        list(map(str, argv)), input=given, capture_output=True, text=True, timeout=600, check=False, env=names
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done.stdout


def blank(path: Path, size: int) -> Path:
    """A sparse file."""
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def ext(path: Path, size: int = 64 * MIB, *options: str, kind: str = "ext4") -> Path:
    """An empty ext file system."""
    run("mke2fs", "-q", "-F", "-t", kind, *options, blank(path, size))
    return path


@contextmanager
def mounted(image: Path, *options: str) -> Iterator[Path]:
    """The image mounted by the kernel."""
    folder = image.with_name(image.name + ".mnt")
    folder.mkdir(exist_ok=True)
    for tries_left in range(9, -1, -1):
        try:
            run("mount", "-o", ",".join(("loop", *options)), image, folder)
            break
        except AssertionError as taken:  # by another part of the tests, between the choice of a loop device and its use
            if not tries_left or "already mounted or mount point busy" not in str(taken):
                raise
    try:
        yield folder
        run("sync", "-f", folder)  # a namespace of somebody's that copied the mount keeps it from ending here
    finally:
        run("umount", folder)


@contextmanager
def ntfs_mounted(image: Path) -> Iterator[Path]:
    """The image through ntfs-3g, which is no kernel driver."""
    folder = image.with_name(image.name + ".mnt")
    folder.mkdir(exist_ok=True)
    run("ntfs-3g", "-o", "streams_interface=xattr,compression", image, folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def table(path: Path, label: str, parts: list[tuple[Path | None, str]], size: int = 256 * MIB) -> Path:
    """A disk with a partition table; each part an image to put there, and the rest of sfdisk's line."""
    script = f"label: {label}\n" + "".join(f"{_size(image)}{words}\n" for image, words in parts)
    run("sfdisk", "-q", blank(path, size), given=script)
    rows = json.loads(run("sfdisk", "-J", path))["partitiontable"]["partitions"]
    with path.open("r+b") as disk:
        for (image, _), row in zip(parts, rows, strict=True):
            if image:
                disk.seek(row["start"] * 512)
                disk.write(image.read_bytes())
    return path


def _size(image: Path | None) -> str:
    return f"size={image.stat().st_size // 1024}KiB, " if image else ""


def quick(image: Path, name: str = "") -> Volume:
    """A volume of the image through the quick driver."""
    disk = Image(image)
    infos = survey(disk).volumes
    return open_quick(disk, next(info for info in infos if name in ("", info.name)))
