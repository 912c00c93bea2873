"""A guest's file system with all that a file can have, made by the kernel, and what a kernel says about a tree."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines.backup.files import images

MIB = 1024 * 1024
ODD = b"\xff\xfe not utf-8\n\x1b[2J\x07 \\x41 \\"
LONG = b"n" * 255
CAPABILITY = struct.pack("<IIIII", 0x02000001, 0x80, 0, 0, 0)  # cap_setuid+ep, linux/capability.h


def ext4(image: Path, fill: Callable[[Path], object], *, size: int = 64 * MIB, options: tuple[str, ...] = ()) -> Path:
    """An unmounted ext4 image with what `fill` puts into it through a loop mount."""
    with image.open("wb") as stream:
        stream.truncate(size)
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,nodiscard", *options, str(image)], check=True
    )
    with mounted(image, "rw") as root:
        fill(root)
    return image


@contextmanager
def mounted(image: Path, how: str = "ro") -> Iterator[Path]:
    """The image, mounted by the kernel."""
    with images.mounted(image, how) as place:
        yield place


def everything(root: Path) -> None:
    """Owners, modes, times, links, holes, attributes, ACLs, odd names."""
    rng = random.Random(5)
    for at in range(40):
        folder = root / f"srv/site{at % 4}/deep/er"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{at}").write_bytes(rng.randbytes(rng.randrange(60_000)))
        os.chown(folder / f"file{at}", 1000 + at, 2000 + at)
        (folder / f"file{at}").chmod(rng.choice([0o600, 0o644, 0o755, 0o000, 0o444]))
    (root / "etc").mkdir()
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    os.link(root / "etc/hosts", root / "srv/hosts-too")
    os.link(root / "etc/hosts", root / "hosts-three")
    (root / "link").symlink_to("/etc/shadow")
    (root / "up").symlink_to("../../../../etc")
    os.setxattr(root / "link", "trusted.of", b"a link", follow_symlinks=False)
    (root / "long").symlink_to("/" + "l" * 200)
    os.chown(root / "link", 7, 8, follow_symlinks=False)
    os.utime(root / "link", ns=(10**18 + 7, 10**18 + 9), follow_symlinks=False)
    sparse(root / "holes")
    (root / "empty").touch()
    os.utime(root / "empty", ns=(123_456_789, -987_654_321_987_654_321))
    (root / os.fsdecode(ODD)).mkdir()
    (root / os.fsdecode(ODD) / os.fsdecode(LONG)).write_text("both")
    os.setxattr(root / "etc/hosts", "user.origin", b"\x00\xffraw")
    os.setxattr(root / "empty", "user.big", rng.randbytes(1500))
    subprocess.run(["setfacl", "-m", "u:1234:rw,g:55:r", str(root / "empty")], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", str(root / "etc")], check=True)
    closed = root / "closed"
    closed.mkdir()
    (closed / "in").write_text("kept in")
    closed.chmod(0o1500)
    os.utime(root / "etc", ns=(10**18, 10**18 + 123))


def sparse(path: Path) -> None:
    """Data, hole, data, hole."""
    with path.open("wb") as stream:
        stream.write(b"a" * 10_000)
        stream.seek(5 * MIB + 123)
        stream.write(b"b" * 100_000)
        stream.truncate(40 * MIB + 77)


def hostile(root: Path) -> None:
    """What must not get out."""
    (root / "evil").symlink_to("/tmp")
    for name, kind in (("null", stat.S_IFCHR), ("loop", stat.S_IFBLK), ("pipe", stat.S_IFIFO)):
        os.mknod(root / name, kind | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
    for name, bits in (("su", 0o4755), ("sg", 0o2755)):
        (root / name).write_text("#!/bin/sh\n")
        (root / name).chmod(bits)
    (root / "shared").mkdir()
    (root / "shared").chmod(0o2777)
    (root / "cap").write_text("raises")
    os.setxattr(root / "cap", "security.capability", CAPABILITY)
    with (root / "huge").open("wb") as stream:
        stream.truncate(10 * 1024**4)
        stream.seek(7 * 1024**4)
        stream.write(b"far out")
    (root / "farm").mkdir()
    (root / "farm/0").write_text("one")
    for at in range(1, 500):
        os.link(root / "farm/0", root / f"farm/{at}")
    (root / "README").write_text("upper")
    (root / "readme").write_text("lower")
    (root / os.fsdecode(ODD)).write_text("odd")
    (root / os.fsdecode(LONG)).write_text("long")


def told(root: Path, *, holes: bool = True) -> dict[bytes, dict[str, Any]]:
    """By path: all that must be the same, with the places of holes or without."""
    found = {}
    top = os.fsencode(root)
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        where = top + path
        node = os.lstat(where)
        found[path or b"/"] = _one(where, node, holes=holes)
        if stat.S_ISDIR(node.st_mode):
            waiting += [path + b"/" + name for name in os.listdir(where)]  # noqa: PTH208  bytes
    return found


def _one(where: bytes, node: os.stat_result, *, holes: bool) -> dict[str, Any]:
    regular = stat.S_ISREG(node.st_mode)
    return {
        "mode": oct(node.st_mode),
        "owner": (node.st_uid, node.st_gid),
        "mtime": node.st_mtime_ns,
        "links": node.st_nlink,
        "size": node.st_size if not stat.S_ISDIR(node.st_mode) else 0,
        "link": os.readlink(where) if stat.S_ISLNK(node.st_mode) else b"",  # noqa: PTH115  bytes
        "device": node.st_rdev,
        "content": digest(where, data(where) if holes else [(0, node.st_size)]) if regular else "",
        "data": data(where) if regular and holes else [],
        "attributes": {
            name: os.getxattr(where, name, follow_symlinks=False) for name in os.listxattr(where, follow_symlinks=False)
        },
    }


def data(path: bytes) -> list[tuple[int, int]]:
    """Where a file holds data."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found, at, end = [], 0, os.fstat(descriptor).st_size
        while at < end:
            try:
                start = os.lseek(descriptor, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            found.append((start, at))
        return found
    finally:
        os.close(descriptor)


def digest(path: bytes, spans: list[tuple[int, int]]) -> str:
    """SHA-256 over these parts, with their places."""
    sums = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for start, end in spans:
            sums.update(b"%d-%d" % (start, end))
            for at in range(start, end, MIB):
                sums.update(os.pread(descriptor, min(MIB, end - at), at))
    finally:
        os.close(descriptor)
    return sums.hexdigest()
