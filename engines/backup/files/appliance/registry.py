"""Where keepers of warm appliances can be reached, and which of them live."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.host.holder import Holder
from engines.job.errors import Refused


class Note(msgspec.Struct, frozen=True):
    """A keeper's process and what it keeps; the note's mtime is its last use."""

    holder: Holder
    point: str
    repo: str


def folder() -> Path:
    """0700 and ours: /run/crashcart for root, else below $XDG_RUNTIME_DIR. Raises Refused."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    found = Path(runtime, "crashcart") if runtime else Path("/run/crashcart")
    try:
        found.mkdir(mode=0o700, exist_ok=True)
        known = found.lstat()
    except OSError as error:
        raise Refused(f"{found}: {error.strerror}", "set XDG_RUNTIME_DIR to a folder of yours") from None
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.geteuid():
        raise Refused(f"{found} is not yours", "set XDG_RUNTIME_DIR to a folder of yours")
    found.chmod(0o700)
    return found


def key(repo: str, point: str) -> str:
    """What a keeper's files are called."""
    return "warm-" + hashlib.blake2b(f"{repo}\0{point}".encode(), digest_size=12).hexdigest()


def socket_of(name: str) -> Path:
    """Where the keeper listens."""
    return folder() / f"{name}.sock"


def note_of(name: str) -> Path:
    """Where it says who it is."""
    return folder() / f"{name}.json"


def living() -> dict[str, Note]:
    """The keepers that run, the one used longest ago first; files of those that were killed are removed."""
    found = []
    for path in folder().glob("warm-*.json"):
        with suppress(OSError, msgspec.MsgspecError):
            note = msgspec.json.decode(path.read_bytes(), type=Note)
            if note.holder.alive():
                found.append((path.stat().st_mtime, path.stem, note))
            else:
                forget(path.stem)
    return {name: note for _, name, note in sorted(found, key=lambda each: each[:2])}


def forget(name: str) -> None:
    """Remove a keeper's files, its lock but for those who wait for it."""
    for path in (socket_of(name), note_of(name), folder() / f"{name}.log"):
        path.unlink(missing_ok=True)
