"""A guest's disk with many file systems, made by the real tools, three of them copied while mounted and written to."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
# name, MiB, GPT type
PARTS = (
    ("xfs", 320, "linux"),
    ("btrfs", 160, "linux"),
    ("lvm", 64, "lvm"),
    ("ext4", 48, "linux"),
    ("vfat", 16, "linux"),
    ("ntfs", 16, "linux"),
    ("luks", 8, "linux"),
    ("swap", 4, "swap"),
)
MAKE = {
    "xfs": ("mkfs.xfs", "-q", "-L", "bay 7"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "ext4": ("mkfs.ext4", "-q", "-F", "-L", "cold"),
    "vfat": ("mkfs.vfat", "-n", "BOOT"),
    "ntfs": ("mkntfs", "-q", "-f", "-F", "-L", "window"),
    "swap": ("mkswap", "-q"),
    "luks": (
        "cryptsetup",
        "luksFormat",
        "-q",
        "--type=luks1",
        "--pbkdf-force-iterations=1000",
        "--key-file=/dev/stdin",
    ),
}
LVM = """devices {{ use_devicesfile=0
global_filter=["a|^{device}$|","r|.*|"]
obtain_device_list_from_udev=0 }}
activation {{ udev_sync=0
udev_rules=0
monitoring=0 }}
global {{ locking_dir="{folder}/lock" }}
backup {{ backup=0
archive=0 }}
"""
LATE = {f"late/{number}": bytes([number]) * (number * 1000 + 1) for number in range(20)}
ENTRIES = 2500


def run(*command: str | Path, given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def every(root: Path) -> list[Path]:
    """All paths below a folder, the deepest first."""
    found = [Path(top, name) for top, folders, files in os.walk(root) for name in (*folders, *files)]
    return sorted(found, reverse=True)


def tree(root: Path) -> Path:
    """Everything that a file system can hold and a restore must give back."""
    root.mkdir()

    def put(name: bytes, content: bytes = b"", mode: int = 0o644) -> Path:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return path

    put(b"etc/motd", b"cold console\n")
    put(b"empty")
    put(b"large", os.urandom(5 * MIB + 123))
    put(b"setuid", b"#!/bin/sh\n", 0o4755)
    os.chown(put(b"owned", b"x"), 1234, 65534)
    for name in (
        b"new\nline",
        b"esc\x1b[31m",
        b"latin-\xe9\xff",
        b"a 'quoted' \"name\"",
        b"back\\slash",
        "grüß".encode(),
    ):
        put(b"names/" + name, name)
        put(b"folder-" + name + b"/inside", b"in " + name)
    with (root / "sparse").open("wb") as stream:
        stream.truncate(20 * MIB)
        for at in (0, 7 * MIB + 4096, 19 * MIB):
            stream.seek(at)
            stream.write(b"\1" * 65536)
    with (root / "all-hole").open("wb") as stream:
        stream.truncate(3 << 40)
    # A name that a map printed by name would be read from.
    os.link(root / "sparse", root / "sparse\n   9:        9..       9:")
    os.link(root / "large", root / "etc/same")
    for name, target in (
        (b"absolute", b"/etc/motd"),
        (b"up", b"../../../etc/shadow"),
        (b"long", b"x" * 900),
        (b"bytes", b"\xff\xfe\n"),
    ):
        (root / "etc" / os.fsdecode(name)).symlink_to(os.fsdecode(target))
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 17))
    for name, value in (("user.note", b"\0\xff bytes"), ("trusted.seal", b"t"), ("security.extra", b"s")):
        os.setxattr(root / "etc/motd", name, value)
    os.setxattr(root / "etc/absolute", "trusted.link", b"l", follow_symlinks=False)
    run("setfacl", "-m", "u:1234:rw,g:99:r", root / "owned")
    run("setfacl", "-d", "-m", "u:1234:rx", root / "etc")
    (root / "many").mkdir()
    for number in range(ENTRIES):
        (root / "many" / f"entry-{number:05}").touch()
    for number, path in enumerate(every(root)):
        os.utime(
            path, ns=(1_111_111_111_000_000_001 + number, 1_234_567_890_123_456_789 - number), follow_symlinks=False
        )
    os.utime(root, ns=(1, 2))
    return root


@contextmanager
def loop(path: Path, offset: int = 0, size: int = 0) -> Iterator[str]:
    device = run("losetup", "-f", "--show", "-o", str(offset), "--sizelimit", str(size), path).decode().strip()
    try:
        yield device
    finally:
        run("losetup", "-d", device)


@contextmanager
def mounted(device: str | Path, point: Path, *options: str) -> Iterator[Path]:
    point.mkdir(exist_ok=True)
    run("mount", *options, device, point)
    try:
        yield point
        run("sync", "-f", point)  # a namespace of somebody's that copied the mount keeps it from ending here
    finally:
        run("umount", point)


def pack(source: Path) -> bytes:
    return run("tar", "-C", source, "--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "-S", "-c", ".")


def fill(packed: bytes, point: Path) -> None:
    run(
        "tar",
        "-C",
        point,
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "-x",
        "-p",
        "--numeric-owner",
        "--same-owner",
        given=packed,
    )


def blank(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def living(kind: str, size: int, packed: bytes, folder: Path) -> Path:
    """A file system as it lies on the disk of a running guest: fsynced files are in its journal only."""
    work = blank(folder / f"{kind}.img", size)
    copy = folder / f"{kind}.part"
    run(*MAKE[kind], work)
    with loop(work) as device, mounted(device, folder / kind, "-o", "noatime") as point:
        fill(packed, point)
        if kind == "btrfs":
            run("btrfs", "subvolume", "create", point / "sub")
            (point / "sub" / "inside").write_bytes(b"in a subvolume")
        run("sync", "-f", point)
        (point / "late").mkdir()
        for name, content in LATE.items():
            late = os.open(point / name, os.O_WRONLY | os.O_CREAT)
            os.write(late, content)
            os.fsync(late)
            os.close(late)
        run("cp", "--sparse=always", work, copy)
    work.unlink()
    return copy


def logical_volume(size: int, packed: bytes, folder: Path) -> Path:
    """ext4 on vg0/root, by LVM's own tools, which need no device mapper to write their metadata."""
    part = blank(folder / "lvm.part", size)
    settings = folder / "lvm.conf"
    with loop(part) as device:
        settings.write_text(LVM.format(device=device, folder=folder))
        for command in (
            ("pvcreate", device),
            ("vgcreate", "vg0", device),
            ("lvcreate", "-an", "-Zn", "-Wn", "-nroot", "-l14", "vg0"),
        ):
            run("env", f"LVM_SYSTEM_DIR={folder}", "lvm", command[0], "--driverloaded", "n", "-y", *command[1:])
    volume = blank(folder / "root.img", 14 * 4 * MIB)  # extents, from the first one at 1 MiB
    run(*MAKE["ext4"], volume)
    with loop(volume) as device, mounted(device, folder / "root") as point:
        fill(packed, point)
    into(part, MIB, volume)
    return part


def into(disk: Path, at: int, part: Path) -> None:
    run("dd", f"if={part}", f"of={disk}", "bs=1M", f"seek={at // MIB}", "conv=notrunc,sparse", "status=none")
    part.unlink()


def plain(kind: str, size: int, source: Path, folder: Path) -> Path:
    """What one command makes and another fills."""
    part = blank(folder / f"{kind}.part", size)
    run(*MAKE[kind], part, given=b"a key" if kind == "luks" else b"")
    if kind == "vfat":
        run("mcopy", "-i", part, source / "etc/motd", "::Motd of the day.txt")
    if kind == "ntfs":
        run("ntfscp", "-q", part, source / "large", "large")
    return part


def build(folder: Path) -> tuple[Path, Path]:
    """(the disk, the tree that every Linux file system on it holds)."""
    source = tree(folder / "tree")
    packed = pack(source)
    disk = blank(folder / "disk.img", (2 + sum(size for _, size, _ in PARTS)) * MIB)
    lines = "".join(f"size={size}MiB, type={kind}\n" for _, size, kind in PARTS)
    run("sfdisk", "-q", disk, given=f"label: gpt\n{lines}".encode())
    at = MIB
    for name, size, _ in PARTS:
        if name == "lvm":
            into(disk, at, logical_volume(size * MIB, packed, folder))
        elif name in ("xfs", "btrfs", "ext4"):
            into(disk, at, living(name, size * MIB, packed, folder))
        else:
            into(disk, at, plain(name, size * MIB, source, folder))
        at += size * MIB
    return disk, source
