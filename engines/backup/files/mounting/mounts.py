"""Which mounts are this user's own, and the end of those whose server was killed."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.host.files import write_whole
from engines.host.holder import Holder
from engines.host.mountinfo import mounts
from engines.job import runs

MNT_DETACH = 2  # linux/fs.h
UMOUNT_NOFOLLOW = 8
PATIENCE = 30.0  # s for fusermount3


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One mount: `token` is its source in /proc/self/mountinfo, no other has it; `server` the process behind it."""

    folder: str
    token: str
    server: Holder


def home() -> Path:
    """Where they are written down."""
    return runs.home().parent / "mounts"


def remember(mount: Mount) -> Path:
    """Write one down. Raises OSError."""
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home() / f"{mount.token.rpartition(':')[2]}.json"
    write_whole(path, msgspec.json.encode(mount))
    return path


def every() -> Iterator[tuple[Path, Mount]]:
    """All that are written down."""
    try:
        found = sorted(home().glob("*.json"))
    except OSError:
        return
    for path in found:
        with suppress(OSError, msgspec.MsgspecError):
            yield path, msgspec.json.decode(path.read_bytes(), type=Mount)


def sweep() -> list[str]:
    """Unmount what is left of servers that were killed, and name the folders. Nothing to do costs nothing."""
    swept = []
    for path, mount in every():
        if mount.server.alive():
            continue
        if unmount(mount):
            swept.append(mount.folder)
        if not is_mounted(mount):
            with suppress(OSError):
                path.unlink()
    return swept


def is_mounted(mount: Mount) -> bool:
    """Whether it is there, the very one."""
    return any(found.source == mount.token and found.folder == mount.folder for found in mounts())


def unmount(mount: Mount) -> bool:
    """Take it away, also where it is in use; whether it was there and no longer is."""
    if not is_mounted(mount):
        return False
    if os.geteuid() == 0:
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(mount.folder), MNT_DETACH | UMOUNT_NOFOLLOW)
    else:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["fusermount3", "-u", "-z", "--", mount.folder],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=PATIENCE,
            )
    return not is_mounted(mount)
