"""Nothing new is made where only the kernel makes files: it would lie in this machine's memory."""

from __future__ import annotations

from pathlib import Path

from engines.host.device import kernels_own
from engines.job.errors import Refused

SHARED = Path("/dev/shm")  # noqa: S108  a folder for everybody's files, as /tmp is


def refuse_devices(where: str, kind: str) -> None:
    """Raises Refused where a new `kind` (a folder, a file) at `where` would lie below /dev, /proc or /sys."""
    path = Path(where)
    if "://" in where or not kernels_own(path) or path.parent.resolve().joinpath(path.name).is_relative_to(SHARED):
        return
    raise Refused(
        f"{where} lies among devices: {kind} made there would be kept in the memory of this machine, if at all",
        "look how the disk is called (lvs, lsblk), mount it, and name a place on it",
    )
