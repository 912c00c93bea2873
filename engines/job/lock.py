"""One run per target: a lock that follows the target's identity and names its holder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engines.host.holder import Holder, me
from engines.job.errors import Refused


def content_identity(path: Path) -> str:
    """Identity of what `path` leads to: dev:inode of a file, rdev of a device. Raises Refused."""
    try:
        found = path.stat()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name something that exists and can be read") from None
    if stat.S_ISBLK(found.st_mode):
        return f"rdev {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return f"inode {found.st_dev}:{found.st_ino}"


def name_identity(path: Path) -> str:
    """Identity of a name in a folder, for a file that is written by rename and may not exist yet. Raises Refused."""
    resolved = path.resolve()
    return f"{content_identity(resolved.parent)} name {resolved.name}"


def folder() -> Path:
    """Where locks lie: /run/lock/crashcart, shared by all users so that two of them meet; else the user's own."""
    shared = Path("/run/lock/crashcart")
    try:
        shared.mkdir(exist_ok=True)
        if shared.stat().st_uid == os.geteuid():
            shared.chmod(0o1777)  # mkdir's own mode is cut by the umask
    except OSError:
        return _own()
    return shared if os.access(shared, os.W_OK) else _own()


def _own() -> Path:
    root = Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home())
    own = root / ".crashcart-locks"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    return own


def path_of(identity: str) -> Path:
    """The lock file of a target."""
    return folder() / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.lock"


@contextmanager
def hold(identity: str, run: str) -> Iterator[None]:
    """Hold the target for `run`. Raises Refused, naming the holder, where another run has it."""
    path = path_of(identity)
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(path, identity) from None
        _sign(path, msgspec.json.encode(me(run)))
        yield
        _sign(path, b"")
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open for locking; never O_CREAT on another user's file, which sticky folders refuse (fs.protected_regular)."""
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            try:
                made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                continue
            os.fchmod(made, 0o666)
            return made


def _sign(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def _held(path: Path, identity: str) -> Refused:
    try:
        holder = msgspec.json.decode(path.read_bytes()[:4096], type=Holder)
    except (OSError, msgspec.DecodeError):
        return Refused(f"another run holds this target ({identity})", f"see who: fuser {path}")
    run = "".join(char for char in holder.run if char.isprintable())
    return Refused(
        f"run {run} (process {holder.pid}) holds this target",
        f"follow it: crashcart attach {run}, or stop it: crashcart stop {run}",
    )
