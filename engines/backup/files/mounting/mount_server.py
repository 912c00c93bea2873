"""The process behind a mount: told on stdin what to serve, it says on stdout when it does and what was read."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from engines.backup import names
from engines.backup.files.mounting.folder import Folder
from engines.backup.files.mounting.fuse import serve
from engines.backup.files.mounting.mounts import unmount
from engines.backup.files.mounting.view import ImageView, Reads, View
from engines.backup.files.opening import Driver, open_tree
from engines.backup.repository.byte_source import PointBytes
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import TOUCH, Presence
from engines.host.child import die_with_parent
from engines.job.contract import Cancel
from engines.job.errors import CrashcartError
from engines.job.params import Secret

GAP = 1.0  # s between counts at most


class MountRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to serve where."""

    repo: str
    point: str
    folder: str
    identity: str  # of the folder, device:inode
    token: str
    parent: int
    image: bool = False
    driver: Driver = "auto"
    key_file: str = ""
    passphrase: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of what it says."""

    ready: bool = False
    failed: str = ""
    drivers: tuple[str, ...] = ()
    reads: int = 0
    bytes: int = 0
    errors: int = 0
    last_error: str = ""


def say(said: Said) -> None:
    """To the run; where that is gone, so is the reason to serve."""
    try:
        os.write(1, msgspec.json.encode(said) + b"\n")
    except OSError:
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Serve until unmounted."""
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=MountRequest)
    die_with_parent(signal.SIGTERM, wanted.parent)  # a graceful end: it unmounts
    reads = Reads()
    try:
        with ExitStack() as stack:
            view = _view(wanted, stack, reads)
            stack.callback(unmount, wanted.token)  # before anything is said: with nobody to hear it, this one ends
            folder = Folder(Path(wanted.folder), wanted.identity)
            serve(view, reads, folder, wanted.token, lambda: say(Said(ready=True)))
    except CrashcartError as error:
        say(Said(failed=str(error)))
        return 1
    except (OSError, RuntimeError) as error:
        say(Said(failed=f"{wanted.folder} cannot be mounted: {error}"))
        return 1
    return 0


def _view(wanted: MountRequest, stack: ExitStack, reads: Reads) -> View | ImageView:
    unlock = Unlock(wanted.key_file, Secret(wanted.passphrase) if wanted.passphrase else None)
    repository = Repository.open(wanted.repo, unlock)
    name = names.parse(wanted.point)
    presence = stack.enter_context(Presence(repository.store, "read", f"mount of {name}", pins=(name.path(),)))
    repository.load()
    source = PointBytes(repository, repository.point(name), presence)
    stack.callback(source.close)
    threading.Thread(target=_telling, args=(reads, presence), daemon=True).start()
    if wanted.image:
        return ImageView(f"{name.vm}-{name.disk}.img".encode(), source, name.moment)
    tree = open_tree(source, wanted.driver, "take", Cancel())
    stack.callback(tree.close)
    return View(tree)


def _telling(reads: Reads, presence: Presence) -> Any:
    """Tell the counts when they changed, and other hosts now and then that this process lives."""
    while True:
        reads.changed.wait(TOUCH)
        presence.touch()
        if reads.changed.is_set():
            reads.changed.clear()
            say(Said(reads=reads.reads, bytes=reads.bytes, errors=reads.errors, last_error=reads.last_error))
            time.sleep(GAP)


if __name__ == "__main__":
    raise SystemExit(main())
