"""Which mounts are this user's own, and the end of those whose server was killed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.host.files import write_whole
from engines.host.holder import Holder
from engines.host.mountinfo import mounts
from engines.job import runs

MNT_DETACH = 2  # linux/fs.h
PATIENCE = 30.0  # s for fusermount3
ENDS_WITHIN = 10.0  # s that a server whose parent was killed needs to be gone


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
        if unmount(mount.token):
            swept.append(mount.folder)
        if not is_mounted(mount):
            with suppress(OSError):
                path.unlink()
    return swept


def ended(folder: str, within: float = ENDS_WITHIN) -> bool:
    """Whether a server that is ending just now was all that lay on the folder, and is unmounted by now."""
    ours = [mount for _, mount in every() if mount.folder == str(Path(folder).absolute())]
    end = time.monotonic() + within
    while any(mount.server.alive() for mount in ours):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    sweep()
    return bool(ours)


def places(token: str) -> dict[str, str]:
    """Where it is, by the kernel's number: its folder, or where whoever owns a folder above has put that since."""
    return {found.own: found.folder for found in mounts() if found.source == token}


def is_mounted(mount: Mount) -> bool:
    """Whether it is there, the very one."""
    return bool(places(mount.token))


def unmount(token: str) -> bool:
    """Take it away, also where it is in use; whether it was there and no longer is."""
    found = places(token)
    for own, folder in found.items():
        if os.geteuid() == 0:
            _detach(own, folder)
        else:
            _by_fuse(folder)
    return bool(found) and not places(token)


def _detach(own: str, folder: str) -> None:
    """By a descriptor that is of this very mount: the name may lead to another by now."""
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        told = Path(f"/proc/self/fdinfo/{descriptor}").read_text().split()
        if told[told.index("mnt_id:") + 1] == own:
            ctypes.CDLL(None, use_errno=True).umount2(f"/proc/self/fd/{descriptor}".encode(), MNT_DETACH)
    finally:
        os.close(descriptor)


def _by_fuse(folder: str) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            ["fusermount3", "-u", "-z", "--", folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
