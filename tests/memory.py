"""How much memory this process came to hold while something was done, whatever it held before at its highest."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20


@contextmanager
def grows_less_than(most: int) -> Iterator[None]:
    """Raises AssertionError where it ever held `most` bytes more within the `with` than when it began.

    ru_maxrss is of all of a process's life: what an earlier test held would hide any growth.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and is still held would be used first, and not seen
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM begins anew
    before = _held("VmRSS")
    yield
    grown = _held("VmHWM") - before
    assert grown < most, f"{grown / MIB:.0f} MiB"


def _held(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, name
    return int(found[1]) * 1024
