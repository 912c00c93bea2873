"""What happens inside the guest: volumes on the spare disks, what is written to them, and what was seen.

The volumes are made once a boot and used by all scenes: an LVM command takes the better part of a second there.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from engines.backup.sources.lvm import kernel

MIB = 1 << 20
TARGET_MESSAGE = 0xC138FD0E  # _IOWR(0xfd, 14, struct dm_ioctl); linux/dm-ioctl.h
A, B, HOSTILE = (Path("/dev/vg") / name for name in ("a", "b", "+b.-c_d"))
ONE, TWO = (Path("/dev/tg") / name for name in ("one", "two"))
SMALL = (Path("/dev/tg/small1"), Path("/dev/tg/small2"))
TIGHT = Path("/dev/tg/narrow")
FULL = Path("/dev/packed/all")
VOLUMES = """
vgcreate vg /dev/vda
lvcreate --yes --size 64m --name a vg
lvcreate --yes --size 64m --name b vg
lvcreate --yes --size 64m --name +b.-c_d vg
vgcreate tg /dev/vdb
lvcreate --yes --type thin-pool --size 256m --name pool tg
lvcreate --yes --virtualsize 64m --thinpool pool --name one tg
lvcreate --yes --virtualsize 64m --thinpool pool --name two tg
lvcreate --yes --type thin-pool --size 64m --name little tg
lvcreate --yes --virtualsize 64m --thinpool little --name small1 tg
lvcreate --yes --virtualsize 64m --thinpool little --name small2 tg
lvcreate --yes --type thin-pool --size 16m --poolmetadatasize 2m --name tight tg
lvcreate --yes --virtualsize 64m --thinpool tight --name narrow tg
vgcreate packed /dev/vdc
lvcreate --yes --extents 100%FREE --name all packed
"""


def run(*argv: str, said: str = "") -> str:
    """Standard output. Raises with everything the command said."""
    done = subprocess.run(argv, input=said, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise AssertionError(f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def tell(device: tuple[int, int], message: str) -> None:
    """Send a mapped device a message by its ioctl: a process of dmsetup for each would take minutes here."""
    buffer = bytearray(kernel.ROOM)
    numbers = os.makedev(*device)
    kernel.HEADER.pack_into(buffer, 0, 4, 0, 0, kernel.ROOM, kernel.HEADER.size, 0, 0, 0, 0, 0, numbers, b"", b"")
    text = bytes(8) + message.encode() + b"\0"  # the sector, then the words
    buffer[kernel.HEADER.size : kernel.HEADER.size + len(text)] = text
    control = os.open("/dev/mapper/control", os.O_RDWR)
    try:
        fcntl.ioctl(control, TARGET_MESSAGE, buffer)
    finally:
        os.close(control)


def prepare() -> list[str]:
    """Make the volumes, all by one process of LVM."""
    run("lvm", said=VOLUMES)
    return names()


def names() -> list[str]:
    """Every volume there is, as VG/LV, hidden ones left out; without LVM, which takes its time."""
    found = []
    for folder in Path("/sys/block").glob("dm-*"):
        try:
            uuid, name = ((folder / "dm" / file).read_text().strip() for file in ("uuid", "name"))
        except FileNotFoundError:
            continue  # removed while we looked
        if uuid.startswith("LVM-") and uuid.count("-") == 1:
            found.append(name)
    return sorted(found)


def pattern(mib: int, seed: int = 1) -> bytes:
    """`mib` MiB of which no two blocks and no two seeds are alike."""
    blocks = [b"%08x%08x" % (seed, at) * (MIB // 16) for at in range(mib)]
    return b"".join(blocks)


def write(path: Path, mib: int, at: int = 0, seed: int = 1) -> bytes:
    """Write a pattern at `at` MiB, down to the disk; what was written."""
    content = pattern(mib, seed)
    with path.open("r+b", buffering=0) as stream:
        stream.seek(at * MIB)
        view = memoryview(content)
        while view:
            view = view[stream.write(view) :]
        os.fsync(stream.fileno())
    return content


def fill(path: Path, snapshot: str, percent: float) -> None:
    """Write to `path` by 64 KiB until its thick snapshot, by the mapper's name, is that full.

    LVM makes a snapshot in steps: under its name stands first a plain volume, which is wiped and taken away again.
    """
    end = time.monotonic() + 120
    while (found := _thick_snapshot(snapshot)) is None:
        if time.monotonic() > end:
            raise AssertionError(f"{snapshot} never became a snapshot")
        time.sleep(0.05)
    with path.open("r+b", buffering=0) as stream:
        while kernel.snapshot_fill(kernel.status(found)).percent < percent:
            stream.write(os.urandom(64 << 10))
            os.fsync(stream.fileno())


def _thick_snapshot(name: str) -> tuple[int, int] | None:
    """The device of a thick snapshot that stands, by the mapper's name."""
    for folder in Path("/sys/block").glob("dm-*"):
        try:
            if (folder / "dm" / "name").read_text() != name + "\n":
                continue
            major, minor = (int(part) for part in (folder / "dev").read_text().split(":"))
            status = kernel.status((major, minor))
        except OSError:
            continue  # taken away while we looked
        if any(target.kind == "snapshot" for target in status.targets):
            return major, minor
    return None


def read(source: Any, length: int = 0) -> bytes:
    """The first `length` bytes of a source, or all, by 4 MiB as the engine does."""
    found = bytearray(length or source.size)
    with memoryview(found) as view:
        for at in range(0, len(found), 4 * MIB):
            source.read_into(at, view[at : at + 4 * MIB])
    return bytes(found)
