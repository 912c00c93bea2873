"""Where keepers of warm appliances can be reached, and which of them live."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.host.holder import Holder
from engines.job import folders


class KeeperNote(msgspec.Struct, frozen=True):
    """A keeper's process and what it keeps; the note's mtime is its last use."""

    holder: Holder
    point: str
    repo: str


def folder() -> Path:
    """0700 and ours, below $XDG_RUNTIME_DIR or in root's /run/crashcart. Raises Refused."""
    return folders.runtime("warm")


def key(repo: str, point: str) -> str:
    """What a keeper's files are called."""
    return "warm-" + hashlib.blake2b(f"{repo}\0{point}".encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def socket_of(name: str) -> Path:
    """Where the keeper listens."""
    return folder() / f"{name}.sock"


def note_of(name: str) -> Path:
    """Where it says who it is."""
    return folder() / f"{name}.json"


def living() -> dict[str, KeeperNote]:
    """The keepers that run, the one used longest ago first; files of those that were killed are removed."""
    found = []
    for path in folder().glob("warm-*.json"):
        with suppress(OSError, msgspec.MsgspecError):
            note = msgspec.json.decode(path.read_bytes(), type=KeeperNote)
            if note.holder.alive():
                found.append((path.stat().st_mtime, path.stem, note))
            else:
                forget(path.stem)
    return {name: note for _, name, note in sorted(found, key=lambda each: each[:2])}


def forget(name: str) -> None:
    """Remove a keeper's files, its lock but for those who wait for it."""
    for path in (socket_of(name), note_of(name), folder() / f"{name}.log"):
        path.unlink(missing_ok=True)
