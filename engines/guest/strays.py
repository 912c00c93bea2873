"""Sweeps the /tmp/libguestfs* folders that a killed appliance left, and only those that nobody uses."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

FRESH = 60.0  # s in which a folder may have been made and not be in use yet


def cache() -> Path:
    """The suite's cache folder, made where it is missing."""
    known = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (known if known.is_absolute() else Path.home() / ".cache") / "crashcart"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sweep(root: Path = Path("/tmp"), fresh: float = FRESH) -> list[Path]:  # noqa: S108 libguestfs uses /tmp for root always
    """Remove stray folders of this user; what was removed."""
    found = [folder for folder in root.glob("libguestfs*") if _old(folder, fresh)]
    if not found:
        return []
    used = _in_use()
    stray = [folder for folder in found if not any(str(folder) in text for text in used)]
    for folder in stray:
        shutil.rmtree(folder, ignore_errors=True)
    return stray


def _old(folder: Path, fresh: float) -> bool:
    try:
        known = folder.lstat()
    except OSError:
        return False
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and known.st_uid == os.getuid()
        and time.time() - known.st_mtime >= fresh
    )


def _in_use() -> list[str]:
    """Texts that name files in use: sockets, command lines, open files."""
    texts = [Path("/proc/net/unix").read_text(errors="replace")]
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):  # it has ended, or is another user's
            texts.append((process / "cmdline").read_bytes().decode("utf-8", "replace"))
            for opened in (process / "fd").iterdir():
                with suppress(OSError):
                    texts.append(str(opened.readlink()))
    return texts
