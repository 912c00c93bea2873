"""What labs made, on disk before it is made, so that a lab that was killed is cleared away and nothing else is."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from engines.host.files import write_whole
from engines.host.holder import Holder, boot_id, me, start_time
from engines.job.runs import home

MARK = "CRASHCART_LAB"
"""The environment variable that names its lab in every process of it."""
LONGEST = 40  # characters of the folder for temporary files
TOKEN = re.compile(r"[0-9a-f]{24}")


class Record(msgspec.Struct, frozen=True):
    """One lab: its holder, its run's folder, and the empty folder that its cells mount their scratch on."""

    token: str
    holder: Holder
    run: str
    scratch: str


class Made(msgspec.Struct, frozen=True):
    """The first process of a cell's namespaces, as /proc shows it from outside. `net` is the namespace's own name."""

    pid: int
    started: int
    net: str = ""


class Swept(msgspec.Struct, kw_only=True):
    """What a sweep cleared away, and the labs at work that it left alone."""

    labs: list[str] = []
    processes: list[int] = []
    folders: list[str] = []
    at_work: list[str] = []


def folder() -> Path:
    """Where the records lie: $XDG_STATE_HOME/crashcart/labs."""
    return home().parent / "labs"


@contextmanager
def recorded(run: Path) -> Iterator[Record]:
    """A lab on record while it works; `scratch` is there within the `with`."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    token = os.urandom(12).hex()
    scratch = _short(Path(tempfile.gettempdir())) / f"crashcart-{token[:8]}"
    record = Record(token, me(run.name), str(run), str(scratch))
    path = folder() / f"{record.token}.json"
    write_whole(path, msgspec.json.encode(record))
    try:
        Path(record.scratch).mkdir(mode=0o700)
        yield record
    finally:
        clear(record)


def _short(folder: Path) -> Path:
    """A folder whose path leaves room for the socket that Chromium puts below it (107 bytes in all, unix(7))."""
    return folder if len(str(folder)) <= LONGEST else Path("/tmp")  # noqa: S108  only an empty folder lies there


def note(record: Record, pid: int) -> None:
    """Put the first process of a cell on record, in the registry and in the run's folder."""
    try:
        net = str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        net = ""  # it has ended already
    line = msgspec.json.encode(Made(pid, start_time(pid), net)) + b"\n"
    for path in (folder() / f"{record.token}.made", Path(record.run) / "namespaces.jsonl"):
        with suppress(OSError), path.open("ab") as stream:  # a full disk: the mark in its environment finds it too
            stream.write(line)


def sweep() -> Swept:
    """Clear away what labs left whose holder is gone: their processes (their namespaces go with them) and folders."""
    swept = Swept()
    for path in sorted(folder().glob("*.json")) if folder().is_dir() else ():
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            continue  # cleared away by another sweep meanwhile, or none of ours
        if not TOKEN.fullmatch(record.token) or path.stem != record.token:
            continue
        if record.holder.alive():
            swept.at_work.append(record.holder.run)
            continue
        processes, gone = clear(record)
        swept.labs.append(record.holder.run)
        swept.processes += processes
        swept.folders += gone
    return swept


def clear(record: Record) -> tuple[list[int], list[str]]:
    """End a lab's processes, remove its folder and then its record; what was ended and removed."""
    found = _processes(record)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30.0  # s; the kernel takes a namespace apart before its first process is gone
    while any(start_time(pid) != -1 for pid in found) and time.monotonic() < deadline:
        time.sleep(0.02)
    gone = []
    with suppress(OSError):  # rmdir takes only an empty folder: nothing of a user's can go with it
        Path(record.scratch).rmdir()
        gone.append(record.scratch)
    for ending in (".made", ".json"):  # the record goes last: a sweep that is killed is taken up by the next
        (folder() / f"{record.token}{ending}").unlink(missing_ok=True)
    return found, gone


def _processes(record: Record) -> list[int]:
    """Processes that are on record or carry the lab's mark; never this one."""
    mark = f"{MARK}={record.token}".encode()
    found = {
        made.pid for made in _made(record) if record.holder.boot == boot_id() and start_time(made.pid) == made.started
    }
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return sorted(found - {os.getpid()})


def _made(record: Record) -> Iterator[Made]:
    path = folder() / f"{record.token}.made"
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(msgspec.DecodeError):
            yield msgspec.json.decode(line, type=Made)
