"""The quick driver shows what a kernel mount of the same image shows."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engines.backup.files.model import BrowseError, Node, NoSuchFile, Volume, join
from tests.engines.backup.files.images import MIB, ext, mounted, quick, run

NAMES = [b"new\nline", b"esc\x1b[31mred", b"\xff\xfe", "ünï".encode(), b"back\\slash", b"x" * 255]


def fill(folder: Path) -> None:
    """Everything that a file can be."""
    root = os.fsencode(folder)
    for name in NAMES:
        Path(os.fsdecode(join(root, name))).write_bytes(name)
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "d" / "data").write_bytes(os.urandom(3 * MIB + 17))
    os.link(folder / "d" / "data", folder / "d" / "again")
    (folder / "link").symlink_to("d/data")
    (folder / "long").symlink_to("/a" * 300)
    os.mknod(folder / "null", 0o20666, os.makedev(1, 3))
    os.mknod(folder / "disk", 0o60660, os.makedev(259, 70000))
    os.mkfifo(folder / "fifo")
    (folder / "owned").write_bytes(b"")
    os.chown(folder / "owned", 100_000, 70_000)
    (folder / "owned").chmod(0o6711)
    os.utime(folder / "d" / "data", ns=(1_234_567_890_123_456_789, 4_500_000_000_987_654_321))
    with (folder / "holes").open("wb") as stream:
        for at in (0, 300, 5000):
            stream.seek(at * 1000)
            stream.write(b"data" * 2000)
        stream.truncate(9_000_000)
    with (folder / "reserved").open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, MIB)
        stream.write(b"begin")


def kernel(path: bytes) -> tuple[object, ...]:
    found = os.lstat(path)
    link = os.readlink(path) if stat.S_ISLNK(found.st_mode) else b""  # noqa: PTH115  a Path decodes it
    device = (os.major(found.st_rdev), os.minor(found.st_rdev))
    size = 0 if device != (0, 0) else found.st_size
    numbers = (found.st_mode, found.st_uid, found.st_gid, size, found.st_nlink, found.st_ino)
    return (*numbers, found.st_mtime_ns, found.st_ctime_ns, found.st_blocks * 512, link, device)


def ours(node: Node) -> tuple[object, ...]:
    numbers = (node.mode, node.uid, node.gid, node.size, node.links, node.inode)
    return (*numbers, node.mtime, node.ctime, node.allocated, node.link, node.device)


def every(volume: Volume, path: bytes = b"/") -> dict[bytes, Node]:
    found = {}
    for node in volume.list(path):
        found[join(path, node.name)] = node
        if node.is_folder:
            found |= every(volume, join(path, node.name))
    return found


def judged(root: Path) -> dict[bytes, tuple[object, ...]]:
    top = os.fsencode(root)
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = join(folder, name)
            found[path[len(top) :]] = kernel(path)
    return found


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_ext_is_what_the_kernel_sees(tmp_path: Path, kind: str) -> None:
    image = ext(tmp_path / "disk", kind=kind)
    with mounted(image) as folder:
        fill(folder)
    volume = quick(image)
    with mounted(image, "ro") as folder:
        found = every(volume)
        assert {path: ours(node) for path, node in found.items()} == judged(folder)
        for path, node in found.items():
            if node.is_file:
                wanted = (folder / os.fsdecode(path[1:])).read_bytes()
                assert volume.read(path, 0, node.size + 1) == wanted
                assert volume.read(path, 5, 70_000) == wanted[5:70_005]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    volume = quick(ext(tmp_path / "disk", 8 * MIB))
    with pytest.raises(NoSuchFile, match="/nothing"):
        volume.stat(b"/nothing")
    with pytest.raises(BrowseError, match="is no regular file"):
        volume.read(b"/lost+found", 0, 1)


@pytest.mark.parametrize("inode", ["128", "256"])
def test_attributes_and_acls_are_those_that_the_kernel_gives(tmp_path: Path, inode: str) -> None:
    image = ext(tmp_path / "disk", 16 * MIB, "-I", inode)
    with mounted(image) as folder:
        (folder / "d").mkdir()
        (folder / "f").write_bytes(b"")
        run("setfacl", "-m", "u:1234:rw,g:70000:r", folder / "f")
        run("setfacl", "-d", "-m", "u:99:rwx", folder / "d")
        for number in range(12):
            os.setxattr(folder / "f", f"user.name{number}", bytes([number]) * number * 5)
        os.setxattr(folder / "f", "trusted.secret", b"\0\xff")
        os.setxattr(folder / "f", "security.capability", b"\1\0\0\2" + bytes(16))
        (folder / "bare").write_bytes(b"")
    volume = quick(image)
    with mounted(image, "ro") as folder:
        for name in ("d", "f", "bare"):
            wanted = {each: os.getxattr(folder / name, each) for each in os.listxattr(folder / name)}
            assert volume.attributes(b"/" + name.encode()) == wanted, name
        assert len(volume.attributes(b"/f")) >= 14
