"""One run per target: a lock that follows the target's identity and names its holder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import msgspec

from engines.host import places
from engines.host.files import file_identity, open_file, read_own, write_whole
from engines.host.holder import Holder, me
from engines.job.errors import Refused

RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
LOCK = re.compile(r"[0-9a-f]{32}\.lock")
MOMENT = 3.0  # s that a lock may be held by one who signs in a moment, or who removes what nobody holds
SWEPT = 200  # entries of the folder that each run looks through for what killed ones left


_seen: dict[str, Path] = {}  # by identity of a file or device: where it was found last


def content_identity(path: Path) -> str:
    """Identity of what `path` leads to: dev:inode of a file, rdev of a device. Raises Refused."""
    try:
        found = path.stat()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name something that exists and can be read") from None
    identity = file_identity(found)
    if stat.S_ISBLK(found.st_mode) or stat.S_ISREG(found.st_mode):
        _seen[identity] = path
    return identity


def name_identity(path: Path) -> str:
    """Identity of a name in a folder, for a file that is written by rename and may not exist yet. Raises Refused."""
    resolved = path.resolve()
    return f"{content_identity(resolved.parent)} name {resolved.name}"


def folder() -> Path:
    """Where this user's locks lie: root's in /run/crashcart, which nobody else can write. Raises Refused."""
    try:
        return (places.shared() if os.geteuid() == 0 else None) or places.runtime()
    except OSError as error:
        helps = "see what lies there and remove it, or set XDG_RUNTIME_DIR to a folder of yours"
        raise Refused(f"locks cannot lie in {error.filename}: {error.strerror}", helps) from None


def path_of(identity: str) -> Path:
    """The lock file of a target."""
    return folder() / f"{_name(identity)}.lock"


def _name(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


@contextmanager
def hold(identity: str, run: str) -> Iterator[None]:
    """Hold the target for `run`: by a lock of this user's, by root's word, and by a lock on the file or device itself.

    Raises Refused, naming the holder where it is root or this user.
    """
    _heed_root(identity)
    path = path_of(identity)
    descriptor = _taken(path, identity)
    itself = -1
    try:
        itself = _target(identity)
        _signed(path, run)
        _sweep(path.parent)
        yield
    finally:
        _removed(path, descriptor)
        os.close(descriptor)
        if itself >= 0:
            os.close(itself)


def _taken(path: Path, identity: str) -> int:
    """A locked descriptor of the lock file that lies there. Raises Refused where another holds it."""
    end = time.monotonic() + MOMENT
    while True:
        descriptor = _open(path)
        locked = _locked(descriptor)
        if locked and _lies(path, descriptor):
            return descriptor
        os.close(descriptor)
        if locked:
            continue  # its holder removed it as it let go
        holder = _said(path)
        if (holder is not None and holder.alive()) or time.monotonic() >= end:
            raise _held(holder, identity)
        time.sleep(0.01)


def _lies(path: Path, descriptor: int) -> bool:
    """Whether it is that file that lies there: its number is no other's while it is open."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _removed(path: Path, descriptor: int) -> None:
    """The lock file and its note, by whoever has it locked."""
    with suppress(OSError):
        if _lies(path, descriptor):
            path.with_suffix(".held").unlink(missing_ok=True)
            path.unlink()


def _sweep(folder_: Path) -> None:
    """Remove a part of the lock files that nobody holds: those of runs that were killed."""
    with os.scandir(folder_) as entries:
        names = [entry.name for entry in islice(entries, SWEPT) if LOCK.fullmatch(entry.name)]
    for name in names:
        with suppress(Refused, OSError):
            descriptor = _open(folder_ / name, new=False)
            try:
                if _locked(descriptor):
                    _removed(folder_ / name, descriptor)
            finally:
                os.close(descriptor)


def _signed(path: Path, run: str) -> None:
    """Say beside it who holds; others read it, and never lock it."""
    note = path.with_suffix(".held")
    try:
        write_whole(note, msgspec.json.encode(me(run)), 0o644)
        note.chmod(0o644)
    except OSError as error:
        raise Refused(f"{note}: {error.strerror}", f"make room in {path.parent}") from None


def _open(path: Path, *, new: bool = True) -> int:
    """The lock file, made where it is missing and may be new; nothing but a file of this user's. Raises Refused."""
    flags = os.O_RDWR | (os.O_CREAT if new else 0) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        helps = f"make room, or see what it is and remove it: ls -l {path}"
        raise Refused(f"{path}: {error.strerror}", helps) from None
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise Refused(f"{path} is no lock of ours", f"see what it is, and remove it: ls -l {path}")


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _target(identity: str) -> int:
    """A locked descriptor of the target itself, where users meet; -1 where it has none or cannot be locked."""
    path = _seen.get(identity)
    if path is None:
        return -1
    try:
        descriptor = open_file(path, devices=True)
    except OSError:
        return -1  # the engine says what is wrong with it
    if file_identity(os.fstat(descriptor)) != identity:  # another lies under that name by now
        os.close(descriptor)
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            return descriptor  # NFS takes no such lock on a file that is open for reading only
        os.close(descriptor)
        raise _held(None, identity) from None
    return descriptor


def _heed_root(identity: str) -> None:
    """Raise Refused where root holds the target: its word can be read by all, and written by nobody else."""
    if os.geteuid() == 0:
        return
    holder = _said(places.SHARED / f"{_name(identity)}.lock")
    if holder is not None and holder.alive():
        raise _held(holder, identity)


def _said(path: Path) -> Holder | None:
    try:
        holder = msgspec.json.decode(read_own(path.with_suffix(".held"), 4096), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None
    return holder if RUN.fullmatch(holder.run) else None


def _held(holder: Holder | None, identity: str) -> Refused:
    if holder is None:
        target = _seen.get(identity)
        return Refused(
            f"another process holds this target ({identity})",
            f"see who: fuser -v {target}" if target else "see what runs: crashcart runs",
        )
    run = holder.run
    return Refused(
        f"run {run} (process {holder.pid}) holds this target",
        f"follow it: crashcart attach {run}, or stop it: crashcart stop {run}",
    )
