"""The folders of engines.host.places, with a refusal in words where another user has a say in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.host import places
from engines.job.errors import Refused


def state(*below: str) -> Path:
    """Runs and what belongs to them. Raises Refused."""
    return _ours(places.state, "XDG_STATE_HOME", below)


def config(*below: str) -> Path:
    """What a technician wrote. Raises Refused."""
    return _ours(places.config, "XDG_CONFIG_HOME", below)


def cache(*below: str) -> Path:
    """What can be made again. Raises Refused."""
    return _ours(places.cache, "XDG_CACHE_HOME", below)


def runtime(*below: str) -> Path:
    """What lasts as long as the login or the boot; made. Raises Refused."""
    return _ours(places.runtime, "XDG_RUNTIME_DIR", below)


def made(folder: Path) -> Path:
    """The folder, made where it is missing. Raises Refused."""
    return _ours(lambda: places.made(folder), "TMPDIR or the XDG folders", ())


def _ours(find: Callable[..., Path], variable: str, below: tuple[str, ...]) -> Path:
    try:
        return find(*below)
    except OSError as error:
        helps = f"see what lies there and make it yours, or set {variable} to a folder of yours"
        raise Refused(f"{error.filename}: {error.strerror}", helps) from None
