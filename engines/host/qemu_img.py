"""qemu-img, which reads what guests wrote: with an end to its time, its memory and what it may print."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from typing import IO

from engines.host.child import ROOT, bounded

WITHIN = 60.0  # s; to look at an image
WORKS_WITHIN = 3600.0  # s; to copy what lies in one
MEMORY = 2 << 30  # bytes of address space; it takes 0.3 GiB for a whole image
LONGEST = 256 << 20  # bytes of an answer: a map of 2,000,000 extents
PIECE = 65536  # bytes read at once, and kept of its complaints
TICK = 0.05
NO_END = "it does not come to an end with the image, as with one made to do harm"


class QemuImgFailed(Exception):
    """It ended with an error, or had to be ended: its own last words. Missing where `missing`."""

    def __init__(self, said: str, *, missing: bool = False) -> None:
        super().__init__(said)
        self.missing = missing


def qemu_img(*arguments: str, within: float = WITHIN, check: Callable[[], None] = lambda: None) -> bytes:
    """What `qemu-img ARGUMENTS` prints. check: called while it works, raises to end it. Raises QemuImgFailed."""
    with _started(arguments) as child:
        try:
            answer, complaints = _told(child, time.monotonic() + within, check)
        finally:
            child.kill()
    if child.returncode:
        said = complaints.decode("utf-8", "replace").strip().splitlines()
        raise QemuImgFailed(said[-1] if said else f"status {child.returncode}")
    return answer


def _started(arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """By pipes: it ends well, too, when a file that it prints into is full, and its answer is then cut off."""
    try:
        return subprocess.Popen(
            ["qemu-img", *arguments],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            preexec_fn=bounded(MEMORY),
        )
    except FileNotFoundError:
        raise QemuImgFailed("qemu-img is not installed", missing=True) from None
    except OSError as error:
        raise QemuImgFailed(f"it cannot be asked: {error.strerror or error}") from None


def _told(child: subprocess.Popen[bytes], end: float, check: Callable[[], None]) -> tuple[bytes, bytes]:
    """What it prints, and the last of its complaints, once it has ended. Raises QemuImgFailed, or as check does."""
    assert child.stdout and child.stderr
    answer, complaints = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ, answer)
        ready.register(child.stderr, selectors.EVENT_READ, complaints)
        while ready.get_map():
            for key, _ in ready.select(TICK):
                if not _taken(key.fileobj, key.data):  # type: ignore[arg-type]
                    ready.unregister(key.fileobj)
            if len(answer) > LONGEST:
                raise QemuImgFailed(
                    f"it prints more than {LONGEST >> 20} MiB about the image, as of one made to do harm"
                )
            del complaints[:-PIECE]
            _in_time(end, check)
    while True:
        try:
            child.wait(TICK)
        except subprocess.TimeoutExpired:
            _in_time(end, check)
        else:
            return bytes(answer), bytes(complaints)


def _in_time(end: float, check: Callable[[], None]) -> None:
    check()
    if time.monotonic() > end:
        raise QemuImgFailed(NO_END)


def _taken(stream: IO[bytes], said: bytearray) -> int:
    """Bytes that came; 0 at the end."""
    piece = os.read(stream.fileno(), PIECE)
    said += piece
    return len(piece)
