"""Where crashcart keeps things: below the XDG folders, and root's own in /run; never where another user has a say."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

SHARED = Path("/run/crashcart")  # root's; others may read what it says there


class NotOurs(PermissionError):
    """A folder that another user owns, or can write: what lies there is not to be obeyed."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(errno.EPERM, why, str(folder))


def state(*below: str) -> Path:
    """Runs and what belongs to them: $XDG_STATE_HOME/crashcart. Raises NotOurs."""
    return _kept("XDG_STATE_HOME", ".local/state", *below)


def config(*below: str) -> Path:
    """What a technician wrote: $XDG_CONFIG_HOME/crashcart. Raises NotOurs."""
    return _kept("XDG_CONFIG_HOME", ".config", *below)


def cache(*below: str) -> Path:
    """What can be made again: $XDG_CACHE_HOME/crashcart. Raises NotOurs."""
    return _kept("XDG_CACHE_HOME", ".cache", *below)


def runtime(*below: str) -> Path:
    """What lasts as long as the login or the boot: $XDG_RUNTIME_DIR/crashcart, else root's own or below the state.

    Made, with mode 0700. Raises OSError.
    """
    known = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if known.is_absolute():
        return made(trusted(known / "crashcart").joinpath(*below))
    if os.geteuid() == 0 and (folder := shared()):
        return made(folder.joinpath(*below)) if below else folder
    return made(state("run", *below))


def shared(folder: Path = SHARED) -> Path | None:
    """Root's folder in /run, made 0755; None where that is not to be had. Raises NotOurs."""
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise NotOurs(folder, "it is no folder: remove it") from None
        return None
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise NotOurs(folder, _why(found))
        os.fchmod(descriptor, 0o755)  # mkdir's own mode is cut by the umask
    finally:
        os.close(descriptor)
    return folder


def made(folder: Path) -> Path:
    """The folder, made 0700 where it is missing. Raises OSError, NotOurs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return trusted(folder)


def trusted(path: Path) -> Path:
    """`path`, where neither it nor a folder on the way to it, as far as they exist, is another's. Raises NotOurs.

    Root and the user may own them; a folder that others can write is fit only if it is sticky, and not as the last.
    """
    last = True
    for each in (path, *path.parents):
        try:
            found = each.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NotOurs(each, error.strerror or str(error)) from None
        open_to_all = found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid not in (0, os.getegid()))
        sticky = found.st_mode & stat.S_ISVTX and not last
        if found.st_uid not in (os.geteuid(), _root()) or (open_to_all and not sticky):
            raise NotOurs(each, _why(found))
        last = False
    return path


def _kept(variable: str, otherwise: str, *below: str) -> Path:
    """The specification has relative values ignored."""
    known = Path(os.environ.get(variable, ""))
    home = known if known.is_absolute() else _home() / otherwise
    return trusted(home / "crashcart" / "/".join(below) if below else home / "crashcart")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry and without $HOME
        return Path("/nonexistent")


def _root() -> int:
    """Whom the root folder belongs to: in a user namespace root's number is another."""
    return os.stat("/").st_uid  # noqa: PTH116  quicker than Path, and called often


def _why(found: os.stat_result) -> str:
    if found.st_uid not in (os.geteuid(), _root()):
        return f"it belongs to user {found.st_uid}, and what lies there would be obeyed"
    return f"others can write to it (mode {stat.S_IMODE(found.st_mode):04o}): chmod go-w"
