"""Disks with many file systems, made by the real tools, some of them copied while a writer was at work on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.engines.backup.files.judging import MIB, customer, digest, mounted, run, table

MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-L", "root"),
    "ext3": ("mkfs.ext3", "-q"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "ntfs": ("mkntfs", "-q", "-f", "-F", "-L", "window"),
    "vfat": ("mkfs.vfat", "-n", "BOOT"),
}
LINUX = ("ext3", "ext4", "xfs", "btrfs")
WRITTEN = 45  # files of a writer, that begins again with the first one after forty
PATIENCE = 180.0  # s
STILL = 10  # copies until one is of a disk that did not change meanwhile
WRITER = """
import os, sys, hashlib, random
folder, log = sys.argv[1:]
told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
number = 0
while True:
    content = random.randbytes(random.randrange(60000))
    with open(f"{folder}/late{number}", "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.write(told, f"late{number} {hashlib.sha256(content).hexdigest()}\\n".encode())
    with open(f"{folder}/never-synced", "ab") as stream:
        stream.write(b"x" * 10000)
    number = (number + 1) % 40
"""


@dataclass(frozen=True)
class Part:
    """One file system on a disk; offset and size in bytes."""

    name: str
    format: str
    offset: int
    size: int


@dataclass
class Many:
    """image: as it is backed up. judge: a copy of it for the kernel. fsynced: by volume, names with their SHA-256."""

    image: Path
    judge: Path
    parts: dict[str, Part]
    fsynced: dict[str, dict[bytes, str]] = field(default_factory=dict)


def build(folder: Path, label: str, wanted: dict[str, tuple[str, int]], living: tuple[str, ...] = ()) -> Many:
    """A disk of `wanted` volumes: (format, MiB) by name. living: those that a writer is at work on during the copy.

    A format of `lvm:FORMAT` is a logical volume vg0/root that holds it, on the last partition.
    """
    image = table(folder / f"{label}.img", (sum(size for _, size in wanted.values()) + 8) * MIB, _script(label, wanted))
    rows = json.loads(run("sfdisk", "-J", image))["partitiontable"]["partitions"]
    places = {f"p{row['node'].rpartition('img')[2].lstrip('p')}": row for row in rows}
    parts = {}
    for name, (form, _) in wanted.items():
        row = places["p" + name.removeprefix("p")] if name.startswith("p") else list(places.values())[-1]
        offset, size = row["start"] * 512, row["size"] * 512
        if form.startswith("lvm:"):
            offset, size = logical(image, offset, size)
        parts[name] = Part(name, form.rpartition(":")[2], offset, size)
    many = Many(image, folder / f"{label}-judge.img", parts)
    for part in parts.values():
        _filled(many, part, folder)
    _copied_alive(many, [parts[name] for name in living], folder)
    run("cp", "--sparse=always", many.image, many.judge)
    return many


def _script(label: str, wanted: dict[str, tuple[str, int]]) -> str:
    kinds = {"vfat": ("c", "uefi"), "ntfs": ("7", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")}
    lines = []
    for form, size in wanted.values():
        kind = kinds.get(form, ("83", "linux"))[label == "gpt"]
        if label == "dos" and len(lines) == 1:
            lines.append("type=5")
        lines.append(f"size={size}MiB, type={kind}")
    return f"label: {label}\n" + "\n".join(lines) + "\n"


def logical(image: Path, offset: int, size: int) -> tuple[int, int]:
    """(offset, size) on the disk of a logical volume vg0/root, made by LVM itself without the device mapper."""
    device = run("losetup", "--find", "--show", "-o", str(offset), "--sizelimit", str(size), image).strip()
    lvm = {**os.environ, "LVM_SYSTEM_DIR": str(image.parent), "LVM_SUPPRESS_FD_WARNINGS": "1"}
    config = "backup { backup = 0 archive = 0 } global { use_lvmlockd = 0 } activation { udev_sync = 0 udev_rules = 0 }"
    common = ("--driverloaded", "n", "--devices", device, "--config", config)
    try:
        for words in (
            ("pvcreate", "-qq", *common, device),
            ("vgcreate", "-qq", *common, "vg0", device),
            ("lvcreate", "-qq", *common, "-an", "-Zn", "-Wn", "-n", "root", "-l", "100%FREE", "vg0"),
        ):
            subprocess.run(["lvm", *words], env=lvm, check=True, capture_output=True)
        told = subprocess.run(
            ["lvm", "lvs", *common, "--noheadings", "--units", "b", "--nosuffix", "-o", "seg_size,seg_start_pe", "vg0"],
            env=lvm, check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        start = subprocess.run(
            ["lvm", "pvs", *common, "--noheadings", "--units", "b", "--nosuffix", "-o", "pe_start"],
            env=lvm, check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
    finally:
        run("losetup", "-d", device)
    assert told[1] == "0"
    return offset + int(start[0]), int(told[0])


def _filled(many: Many, part: Part, folder: Path) -> None:
    with partition(many.image, part) as device:
        run(*MAKE[part.format], device)
    if part.format in LINUX:
        with mounted(many.image, folder / "point", part.offset, part.size) as root:
            customer(root)
    elif part.format == "ntfs":
        with windows(many.image, part, folder / "point") as root:
            plain(root)
    else:
        source = folder / "plain"
        if not source.exists():
            source.mkdir()
            plain(source)
        for each in source.iterdir():
            run("mcopy", "-s", "-m", "-i", f"{many.image}@@{part.offset}", each, "::")


def plain(root: Path) -> None:
    """What every file system can hold, with names that Windows takes."""
    (root / "Program Files" / "Über").mkdir(parents=True)
    (root / "Program Files" / "Über" / "größe und gewicht.txt").write_bytes(b"bytes\0\xff" * 4000)
    (root / "Program Files" / "a long name with spaces, and more than eight.three").write_bytes(os.urandom(300_000))
    (root / "EMPTY.TXT").touch()
    for number in range(40):
        (root / "Program Files" / f"file{number}.dat").write_bytes(bytes([number]) * (number * 911))
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_500_000_000, 1_500_000_000))


@contextmanager
def partition(image: Path, part: Part) -> Iterator[str]:
    """Its block device."""
    device = run("losetup", "--find", "--show", "-o", str(part.offset), "--sizelimit", str(part.size), image).strip()
    try:
        yield device
    finally:
        run("losetup", "-d", device)


@contextmanager
def windows(image: Path, part: Part, folder: Path, *options: str) -> Iterator[Path]:
    """An NTFS partition through ntfs-3g."""
    folder.mkdir(parents=True, exist_ok=True)
    with partition(image, part) as device:
        run("ntfs-3g", *(["-o", ",".join(options)] if options else []), device, folder)
        try:
            yield folder
        finally:
            run("umount", folder)


def _copied_alive(many: Many, living: list[Part], folder: Path) -> None:
    """Replace the image by a copy of it at one moment of its life: journals in use, nothing unmounted."""
    if not living:
        return
    alive = many.image.with_suffix(".alive")
    many.image.rename(alive)
    with ExitStack() as stack:
        writers = []
        for part in living:
            root = stack.enter_context(mounted(alive, folder / part.name, part.offset, part.size))
            (root / "late").mkdir()
            run("sync", "-f", root)
            log = folder / f"{part.name}.log"
            writers.append(subprocess.Popen([sys.executable, "-c", WRITER, root / "late", log]))
            stack.callback(_ended, writers[-1])
        _at_work([folder / f"{part.name}.log" for part in living], writers)
        for writer in writers:
            writer.send_signal(signal.SIGSTOP)
        for attempt in range(STILL):
            before = digest(os.fsencode(alive))
            run("cp", "--sparse=always", alive, many.image)
            if before == digest(os.fsencode(alive)) == digest(os.fsencode(many.image)):
                break
            assert attempt < STILL - 1, "the disk never was quiet"
        for part in living:
            lines = (folder / f"{part.name}.log").read_bytes().splitlines()
            # the last name of the log may have been opened anew since; all others are as they were fsynced
            rows = dict(line.split() for line in lines)
            rows.pop(b"late%d" % ((int(lines[-1].split()[0][4:]) + 1) % 40), None)
            many.fsynced[part.name] = {b"late/" + name: value.decode() for name, value in rows.items()}
    alive.unlink()


def _at_work(logs: list[Path], writers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Return once each writer has fsynced a good many files."""
    deadline = time.monotonic() + PATIENCE
    while any(not log.exists() or log.read_bytes().count(b"\n") < WRITTEN for log in logs):
        assert all(writer.poll() is None for writer in writers), "a writer has ended"
        assert time.monotonic() < deadline, logs
        time.sleep(0.05)


def _ended(writer: subprocess.Popen[bytes]) -> None:
    writer.kill()
    writer.wait()
