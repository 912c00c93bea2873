"""A disk image with the make-up of a used one, and its state in memory and on the disk."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.backup.pages.page_cache import resident
from tests.engines.backup import lab

MIB = 1024 * 1024


def block(rng: random.Random, text: bytes) -> bytes:
    """Half of the blocks are noise, half are text with some noise: together they compress to about 60 %."""
    if rng.random() < 0.45:
        return rng.randbytes(MIB)
    at = rng.randrange(len(text) - MIB)
    body = bytearray(text[at : at + MIB])
    for offset in range(0, MIB, 4096):
        body[offset : offset + 24] = rng.randbytes(24)
    return bytes(body)


def prose(rng: random.Random) -> bytes:
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(3000)]
    return b" ".join(rng.choices(words, k=1_300_000))


def make_image(path: Path, gib: int) -> list[int]:
    """Data in runs with holes between; the numbers of the blocks that have some."""
    rng = random.Random(7)
    text = prose(rng)
    wanted, total = gib * 1024 * 9 // 16, gib * 1024
    filled: list[int] = []
    at = 0
    with path.open("wb", buffering=0) as stream:
        stream.truncate(total * MIB)
        while len(filled) < wanted and at < total:
            run = min(rng.randint(32, 512), wanted - len(filled), total - at)
            for number in range(at, at + run):
                os.pwrite(stream.fileno(), block(rng, text), number * MIB)
                filled.append(number)
            at += run + rng.randint(10, max(11, (total - wanted) * 400 // total))
    return filled


def change(path: Path, filled: list[int], seed: int) -> int:
    """New content for 1 % of the data blocks; their size compressed as zstd level 1 does it."""
    import zstandard

    rng = random.Random(seed)
    text = prose(rng)
    small = 0
    with path.open("r+b", buffering=0) as stream:
        for number in rng.sample(filled, len(filled) // 100):
            body = block(rng, text)
            small += min(len(zstandard.ZstdCompressor(level=1).compress(body)), MIB)
            os.pwrite(stream.fileno(), body, number * MIB)
        os.fsync(stream.fileno())
    return small


def warm(path: Path) -> None:
    with path.open("rb", buffering=0) as stream:
        while stream.read(8 * MIB):
            continue


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Its data stays in memory, in the same pages for all, whatever is dropped meanwhile: a mapped page is not."""
    warm(path)
    with path.open("rb") as stream, ExitStack() as mapped:
        end, size = 0, path.stat().st_size
        while end < size:
            try:
                start = os.lseek(stream.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: a hole to the end
                break
            end = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            mapped.enter_context(mmap.mmap(stream.fileno(), end - start, flags, mmap.PROT_READ, offset=start))
        yield


def claim_memory() -> None:
    """Touch what is free. A host that takes back a guest's free memory makes its next touch slow, and a copy through
    the page cache would pay for that."""
    free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, free // 10 * 9, flags).close()


def disk_use(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def cold(folder: Path) -> None:
    """Have nothing of it in the page cache."""
    for path in files(folder):
        lab.cold(path)


def files(place: Path) -> list[Path]:
    """A file, or those below a folder."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def in_memory(path: Path) -> int:
    """Bytes of it in the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return resident(descriptor, 0, path.stat().st_size)
    finally:
        os.close(descriptor)
