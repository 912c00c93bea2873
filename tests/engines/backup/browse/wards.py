"""Guests with files of every kind, and what a file is, as the host's own kernel sees it."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 1 << 20
SECTOR = 512
LABEL = b"system_u:object_r:etc_t:s0\0"


def run(*command: str | Path, text: str = "") -> str:
    """A command that must succeed."""
    done = subprocess.run([*map(str, command)], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr.decode("utf-8", "replace"))
    return done.stdout.decode("utf-8", "replace")


def table(image: Path, size: int, script: str) -> Path:
    """A sparse disk with partitions."""
    with image.open("wb") as stream:
        stream.truncate(size)
    run("sfdisk", "-q", image, text=script)
    return image


@contextmanager
def mounted(image: Path, folder: Path, offset: int, size: int, *options: str) -> Iterator[Path]:
    """One partition, mounted by the host's kernel."""
    folder.mkdir(parents=True, exist_ok=True)
    device = run("losetup", "--find", "--show", "-o", str(offset), "--sizelimit", str(size), image).strip()
    try:
        run("mount", *(["-o", ",".join(options)] if options else []), device, folder)
        try:
            yield folder
        finally:
            run("umount", folder)
    finally:
        run("losetup", "-d", device)
        backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
        while backing.exists() and backing.read_text().strip() == str(image):
            time.sleep(0.05)  # somebody else's scan of devices still has it open


def seen(root: Path) -> dict[bytes, dict[str, Any]]:
    """Every file below `root` with all that a restore has to carry."""
    found = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = folder + b"/" + name
            found[path[len(top) + 1 :]] = fact(path)
    return found


def fact(path: bytes) -> dict[str, Any]:
    """One file: type, mode, owner, size, mtime, link, attributes, digest, bytes on disk in steps of 64 KiB."""
    status = os.lstat(path)
    regular = stat.S_ISREG(status.st_mode)
    return {
        "mode": status.st_mode,
        "owner": (status.st_uid, status.st_gid),
        "size": status.st_size if regular else 0,
        "mtime": status.st_mtime_ns,
        "links": status.st_nlink if regular else 0,
        "link": os.readlink(path) if stat.S_ISLNK(status.st_mode) else b"",  # noqa: PTH115  bytes
        "device": status.st_rdev,
        "attributes": {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        },
        "digest": digest(path) if regular else "",
    }


def digest(path: bytes) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123  bytes
        return hashlib.file_digest(stream, "sha256").hexdigest()
