"""The folders that libguestfs makes in /tmp for its sockets: noted while an appliance runs, removed once it is gone.

Only noted ones are removed: another program's appliance may keep its folder untouched for hours and still need it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.host.files import read_own, write_whole
from engines.host.holder import Holder, me
from engines.job import folders

FOLDER = re.compile(rb"/tmp/libguestfs[A-Za-z0-9_]{6}(?=/)")
NAME = re.compile(r"/tmp/libguestfs[A-Za-z0-9_]{6}")  # noqa: S108  the name that libguestfs gives


class Note(msgspec.Struct, frozen=True):
    """A folder and the process whose appliance uses it."""

    folder: str
    holder: Holder


def cache() -> Path:
    """The suite's cache folder, made where it is missing."""
    return folders.made(folders.cache())


def note(group: int) -> str:
    """Note the folder of the appliance in a process group and return it; empty while it has none."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (found := _folder_of(process, group)):
            notes = cache() / "appliances"
            notes.mkdir(mode=0o700, exist_ok=True)
            write_whole(notes / Path(found).name, msgspec.json.encode(Note(found, me())))
            return found
    return ""


def _folder_of(process: Path, group: int) -> str:
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[2] != str(group):
            return ""
        found = FOLDER.search((process / "cmdline").read_bytes())
    except (OSError, IndexError):
        return ""
    return found.group().decode() if found else ""


def sweep() -> list[Path]:
    """Remove the noted folders whose process is gone; what was removed."""
    removed = []
    for kept in (cache() / "appliances").glob("libguestfs*"):
        with suppress(OSError, msgspec.MsgspecError):
            found = msgspec.json.decode(read_own(kept), type=Note)
            if not found.holder.alive():
                _remove(found.folder)
                kept.unlink(missing_ok=True)
                removed.append(Path(found.folder))
    return removed


def forget(folder: str) -> None:
    """Remove one noted folder now: its appliance has been ended."""
    _remove(folder)
    (cache() / "appliances" / Path(folder).name).unlink(missing_ok=True)


def _remove(folder: str) -> None:
    """Only what libguestfs itself made: a folder of that name and this user's own, whatever a note says."""
    with suppress(OSError):
        if NAME.fullmatch(folder) is None:
            return
        found = os.lstat(folder)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
