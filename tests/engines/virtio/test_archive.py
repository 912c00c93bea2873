"""An initrd made to do harm ends its reader, in bounded memory."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys

import pytest
import zstandard

from engines.virtio import archive


def entry(name: str, size: bytes = b"00000000", length: bytes = b"") -> bytes:
    head = b"070701" + b"00000000" * 6 + size + b"00000000" * 4 + (length or b"%08x" % (len(name) + 1)) + b"00000000"
    whole = head + name.encode() + b"\0"
    return whole + bytes(-len(whole) % 4)


END = entry("TRAILER!!!")


def test_names_come_out_of_plain_and_packed_archives_one_behind_the_other() -> None:
    plain = entry("./kernel/x86") + END
    packed = entry("lib/modules/virtio_blk.ko") + END
    for pack in (gzip.compress, lzma.compress, zstandard.compress):
        assert archive.names(plain + bytes(512) + pack(packed)) == ["kernel/x86", "lib/modules/virtio_blk.ko"]


@pytest.mark.parametrize(
    "made",
    [
        entry("a", size=b"-00000f0") + END,
        entry("a", size=b"-0000074") * 2 + END,
        entry("a", size=b"0x000010") + END,
        entry("a", length=b"-0000001") + END,
        entry("a", size=b"ffffffff") + END,
        zstandard.compress(END)[:-3] + b"xxx",
        b"\x28\xb5\x2f\xfd" + b"\xff" * 40,
        lzma.compress(END)[:40],
    ],
)
def test_a_damaged_archive_is_said_to_be_one(made: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|trailer|no initrd"):
        archive.names(made)


def test_archives_in_archives_have_an_end() -> None:
    made = END
    for _ in range(50):
        made = gzip.compress(made, 1)
    with pytest.raises(ValueError, match="in one another"):
        archive.names(made)


def test_more_paths_than_any_initrd_has_are_not_kept() -> None:
    with pytest.raises(ValueError, match="paths"):
        archive.names(entry("a") * (archive.MANY + 1) + END)


BOMB = """
import resource, sys, zstandard
from engines.virtio import archive
packer = zstandard.ZstdCompressor(level=1).compressobj()
zeros = bytes(1 << 24)
made = b"".join(packer.compress(zeros) for _ in range(80)) + packer.flush()
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
archive.MOST = 64 << 20
try:
    archive.names(made)
except ValueError as error:
    sys.exit(str(error))
"""


def test_a_bomb_is_unpacked_no_further_than_an_initrd_may_be() -> None:
    ran = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "unpacks to more than 64 MiB" in ran.stderr


def test_blanks_and_empty_archives_without_an_end_are_passed_or_refused() -> None:
    assert archive.names(END + bytes(1 << 20) + entry("a") + END) == ["a"]
    with pytest.raises(ValueError, match="behind one another"):
        archive.names(END * (archive.MANY + 1))
