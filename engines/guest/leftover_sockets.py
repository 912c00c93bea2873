"""The folders that libguestfs makes in /tmp for its sockets: noted while an appliance runs, removed once it is gone.

Only noted ones are removed: another program's appliance may keep its folder untouched for hours and still need it.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.host.holder import Holder, me

FOLDER = re.compile(rb"/tmp/libguestfs\w{6}(?=/)")


class Note(msgspec.Struct, frozen=True):
    """A folder and the process whose appliance uses it."""

    folder: str
    holder: Holder


def cache() -> Path:
    """The suite's cache folder, made where it is missing."""
    known = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (known if known.is_absolute() else Path.home() / ".cache") / "crashcart"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def note(group: int) -> str:
    """Note the folder of the appliance in a process group and return it; empty while it has none."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (found := _folder_of(process, group)):
            notes = cache() / "appliances"
            notes.mkdir(exist_ok=True)
            (notes / Path(found).name).write_bytes(msgspec.json.encode(Note(found, me())))
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
            found = msgspec.json.decode(kept.read_bytes(), type=Note)
            if not found.holder.alive():
                shutil.rmtree(found.folder, ignore_errors=True)
                kept.unlink(missing_ok=True)
                removed.append(Path(found.folder))
    return removed


def forget(folder: str) -> None:
    """Remove one noted folder now: its appliance has been ended."""
    shutil.rmtree(folder, ignore_errors=True)
    (cache() / "appliances" / Path(folder).name).unlink(missing_ok=True)
