"""Small images without a guest, and the programs that look at them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20


def raw(path: Path, size: int = 8 * MIB) -> Path:
    """A disk with a partition table's signature and something in every other mebibyte."""
    with path.open("wb") as stream:
        stream.truncate(size)
        for at in range(0, size, 2 * MIB):
            stream.seek(at + 4096)
            stream.write(hashlib.shake_128(str(at).encode()).digest(100_000))
        stream.seek(510)
        stream.write(b"\x55\xaa")
    return path


def qcow2(path: Path, *options: str) -> Path:
    """The same in qcow2."""
    plain = raw(path.with_suffix(".plain"))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", *options, plain, path], check=True)
    return path


def written(path: Path, *commands: str, form: str = "qcow2") -> None:
    """Guest writes, by qemu-io."""
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", form, *words, str(path)], check=True, capture_output=True)


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def same_disk(one: Path, other: Path, forms: tuple[str, str]) -> bool:
    """What `qemu-img compare` says of two guests' views."""
    command = ["qemu-img", "compare", "-f", forms[0], "-F", forms[1], str(one), str(other)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def clean(path: Path) -> bool:
    """Whether `qemu-img check` finds neither errors nor leaks."""
    return (
        subprocess.run(["qemu-img", "check", "-f", "qcow2", str(path)], capture_output=True, check=False).returncode
        == 0
    )


@contextmanager
def loop(path: Path) -> Iterator[Path]:
    """A block device over a file."""
    found = subprocess.run(["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True)
    device = Path(found.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", str(device)], check=True)


@contextmanager
def qemu(*drive: str) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU that has a drive open and runs nothing."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-machine", "pc"]
    child = subprocess.Popen(
        [*command, "-drive", ",".join(drive), "-qmp", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None and child.stdin is not None
        child.stdin.write(b'{"execute":"qmp_capabilities"}\n')
        child.stdin.flush()
        child.stdout.readline()  # the greeting; the answer comes when the disk is the machine's
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()


def sparse_size(path: Path) -> int:
    """Bytes on disk."""
    return path.stat().st_blocks * 512
