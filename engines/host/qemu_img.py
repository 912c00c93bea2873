"""qemu-img, which reads what guests wrote: with an end to its time, its memory and what it may print."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable

from engines.host.child import ROOT, bounded

WITHIN = 60.0  # s; to look at an image
WORKS_WITHIN = 3600.0  # s; to copy what lies in one
MEMORY = 2 << 30  # bytes of address space; it takes 0.3 GiB for a whole image
LONGEST = 256 << 20  # bytes of an answer: a map of 2,000,000 extents
TICK = 0.05


class QemuImgFailed(Exception):
    """It ended with an error, or had to be ended: its own last words. Missing where `missing`."""

    def __init__(self, said: str, *, missing: bool = False) -> None:
        super().__init__(said)
        self.missing = missing


def qemu_img(*arguments: str, within: float = WITHIN, check: Callable[[], None] = lambda: None) -> bytes:
    """What `qemu-img ARGUMENTS` prints. check: called while it works, raises to end it. Raises QemuImgFailed."""
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
        try:
            child = subprocess.Popen(
                ["qemu-img", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=complaints,
                cwd=ROOT,
                preexec_fn=bounded(MEMORY),
            )
        except FileNotFoundError:
            raise QemuImgFailed("qemu-img is not installed", missing=True) from None
        try:
            why = _ended(child, answer.fileno(), time.monotonic() + within, check)
        finally:
            child.kill()
            child.wait()
        if why or child.returncode:
            complaints.seek(0)
            said = complaints.read(65536).decode("utf-8", "replace").strip().splitlines()
            raise QemuImgFailed(why or (said[-1] if said else f"status {child.returncode}"))
        answer.seek(0)
        return answer.read()


def _ended(child: subprocess.Popen[bytes], answer: int, end: float, check: Callable[[], None]) -> str:
    """Wait for its end; why it must be ended instead, or nothing."""
    while True:
        try:
            child.wait(TICK)
        except subprocess.TimeoutExpired:
            check()
        else:
            return ""
        if os.fstat(answer).st_size > LONGEST:
            return f"it prints more than {LONGEST >> 20} MiB about the image, as of one made to do harm"
        if time.monotonic() > end:
            return "it does not come to an end with the image, as with one made to do harm"
