"""Guests with files of every kind, and what a file is, as the host's own kernel sees it."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 1 << 20
SECTOR = 512
TIME = 1_234_567_890_123_456_789  # ns
LABEL = b"system_u:object_r:etc_t:s0\0"

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *row)
    for row in ((1, 6, 2**32 - 1), (2, 4, 1000), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1))
)


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
            run("sync", "-f", folder)  # a namespace of somebody's that copied the mount keeps it from ending here
        finally:
            run("umount", folder)
    finally:
        run("losetup", "-d", device)
        backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
        while backing.exists() and backing.read_text().strip() == str(image):
            time.sleep(0.05)  # somebody else's scan of devices still has it open


def customer(root: Path) -> None:
    """What a customer keeps."""
    www = root / "srv" / "www"
    www.mkdir(parents=True)
    os.chown(www, 33, 33)
    www.chmod(0o2775)
    (www / "index.html").write_bytes(b"<h1>open</h1>\n" * 5000)
    os.setxattr(www / "index.html", "user.origin", b"a\0b\nc=\xff")
    os.setxattr(www / "index.html", "system.posix_acl_access", ACL)
    os.link(www / "index.html", www / "twin.html")
    with (www / "sparse").open("wb") as stream:
        stream.truncate(64 * MIB)
        stream.seek(40 * MIB)
        stream.write(os.urandom(3000))
    (www / "abs").symlink_to("/etc/../etc/shadow")
    (www / "empty").touch()
    Path(os.fsdecode(os.fsencode(www) + b"/\xff\xfe new\nline \x1b[31m")).write_bytes(b"odd")
    (www / "tool").write_bytes(b"#!/bin/sh\n")
    (www / "tool").chmod(0o4755)
    os.setxattr(www / "tool", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.mknod(www / "null", 0o666 | 0o020000, os.makedev(1, 3))
    (www / "deep" / "er").mkdir(parents=True)
    (www / "deep" / "er" / "file").write_text("deep")
    etc = root / "etc"
    etc.mkdir()
    (etc / "motd").write_text("welcome\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    for path in (www / "index.html", etc / "motd"):
        os.setxattr(path, "security.selinux", LABEL)
    (root / "var").mkdir()
    (root / "var" / "www").symlink_to("../srv/www")
    (root / "out").symlink_to("/nowhere/else")
    for folder, folders, files in os.walk(os.fsencode(root), topdown=False):
        for name in [*files, *folders]:
            os.utime(folder + b"/" + name, ns=(TIME, TIME + len(name)), follow_symlinks=False)


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
