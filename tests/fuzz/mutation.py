"""Bytes changed by a fixed seed, so that case 4711 is the same on every machine; counted, never timed."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

SEEDS = Path(__file__).with_name("seeds")
ODD = (0, 1, 0x7F, 0x80, 0xFF)
CPU = 30.0  # s of processor that one case may take: it takes milliseconds, and one without an end takes all


def seed(name: str) -> bytes:
    """A kept image."""
    return zstandard.ZstdDecompressor().decompress((SEEDS / f"{name}.zst").read_bytes(), max_output_size=1 << 26)


def spots(raw: bytes) -> list[int]:
    """Where a change is likely to be seen: beside what is no zero, by 64 bytes."""
    return [at for at in range(0, len(raw), 64) if any(raw[at : at + 64])]


def changes(case: int, places: list[int], most: int = 12) -> dict[int, int]:
    """Some bytes by place, of case number `case`."""
    rng = random.Random(case)
    found = {}
    for _ in range(rng.randint(1, most)):
        at = rng.choice(places) + rng.randrange(64)
        for after in range(rng.choice((1, 1, 2, 4, 8))):
            found[at + after] = rng.choice(ODD) if rng.random() < 0.6 else rng.randrange(256)
    return found


def changed(raw: bytes, case: int) -> bytes:
    """A short message with bytes changed, doubled, left out or cut."""
    rng = random.Random(case)
    made = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(6):
            case 0 | 1:
                made[at : at + 1] = bytes([rng.choice(ODD) if rng.random() < 0.5 else rng.randrange(256)])
            case 2:
                made[at:at] = made[at : at + rng.randrange(64)] * rng.randrange(1, 40)
            case 3:
                del made[at : at + rng.randrange(1, 32)]
            case 4:
                del made[at:]
            case _:
                made[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x80\0\0\0", b"\x7f\xff\xff\xff", b"9" * 40))
    return bytes(made)


@contextmanager
def with_an_end(cpu: float = CPU) -> Iterator[None]:
    """Fail where what is done takes so much processor, in s, that it has no end."""

    def ended(_signal: int, _frame: object) -> None:
        raise AssertionError(f"{cpu} s of processor for one case")

    before = signal.signal(signal.SIGVTALRM, ended)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
