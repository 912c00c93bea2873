"""Nothing new is made where only the kernel makes files, in this machine's memory, nor among a repository's own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from engines.host.device import kernels_own
from engines.host.files import open_file
from engines.job.errors import Refused

SHARED = Path("/dev/shm")  # noqa: S108  a folder for everybody's files, as /tmp is
LONGEST = 1 << 16  # bytes of a config


def refuse_place(where: str, kind: str, *, itself: bool = True) -> None:
    """Raises Refused where a new `kind` (a folder, a file) at `where` would lie among devices or in a repository.

    itself: whether `where` may be no repository either; else the caller says so, in better words.
    """
    path = Path(where)
    if "://" in where:
        return
    refuse_repository(path, f"{kind} made there would lie among its own files", itself=itself)
    if not kernels_own(path) or _place(path).is_relative_to(SHARED):
        return
    raise Refused(
        f"{where} lies among devices: {kind} made there would be kept in the memory of this machine, if at all",
        "look how the disk is called (lvs, lsblk), mount it, and name a place on it",
    )


def is_config(content: bytes) -> bool:
    """Whether it is a repository's config.json, be it sound or not."""
    with suppress(RecursionError, msgspec.DecodeError, UnicodeDecodeError):
        return {"format", "id", "block", "pack"} <= msgspec.json.decode(content, type=dict[str, Any]).keys()
    return False


def refuse_repository(path: Path, why: str, store: str = "", *, itself: bool = True) -> None:
    """Raises Refused where `path` lies in a repository or is one, by whatever name, link or mount it goes there.

    store: the one that is worked with; a mount of one of its folders alone is known by that only.
    """
    own = _numbers(Path(store)) if store and "://" not in store else set()
    named, meant = _place(path), Path(os.path.realpath(path))
    for folder in dict.fromkeys((*named.parents, *([meant] if itself else []), *meant.parents)):
        if _number(folder) in own or _is_repository(folder):
            said = "is" if folder == meant else "lies in"
            raise Refused(f"{path} {said} the repository itself, {folder}: {why}", "name a place outside of it")


def _place(path: Path) -> Path:
    """By no link but its own; a circle of links is left as it is."""
    return Path(os.path.realpath(path.parent), path.name)


def _numbers(root: Path) -> set[tuple[int, int]]:
    """The repository's folder and those in it, by what they are."""
    with suppress(OSError):
        return {_number(folder) for folder in (root, *root.iterdir()) if folder.is_dir()}
    return set()


def _number(folder: Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except OSError:
        return (-1, -1)  # not there: like none that is
    return found.st_dev, found.st_ino


def _is_repository(folder: Path) -> bool:
    """Whether one was made there. Any user may have put anything by that name into a parent folder, as /tmp."""
    for name in ("packs/config.json", "config.json"):
        with suppress(OSError), os.fdopen(open_file(folder / name), "rb") as stream:
            if is_config(stream.read(LONGEST)):
                return True
    return False
