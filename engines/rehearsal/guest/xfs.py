"""An XFS file system with a tree in it, made without mounting anything, from a prototype (mkfs.xfs(8), -p)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def prototype(tree: Path) -> str:
    """The prototype of everything below `tree`, owned by root. No name may hold white space."""
    return "\n".join(["/dev/null", "0 0", _mode("d", tree.lstat().st_mode), *_below(tree), "$", ""])


def _below(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            yield f"{path.name} {_mode('d', found.st_mode)}"
            yield from _below(path)
            yield "$"
        elif stat.S_ISLNK(found.st_mode):
            yield f"{path.name} {_mode('l', 0o777)} {path.readlink()}"
        elif stat.S_ISREG(found.st_mode):
            yield f"{path.name} {_mode('-', found.st_mode)} {path}"
        else:
            kind = "c" if stat.S_ISCHR(found.st_mode) else "b"
            yield f"{path.name} {_mode(kind, found.st_mode)} {os.major(found.st_rdev)} {os.minor(found.st_rdev)}"


def _mode(kind: str, mode: int) -> str:
    set_user, set_group = "u" if mode & stat.S_ISUID else "-", "g" if mode & stat.S_ISGID else "-"
    return f"{kind}{set_user}{set_group}{mode & 0o777:03o} 0 0"
