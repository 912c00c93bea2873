"""The tag on every snapshot that says which process of which boot it belongs to."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from engines.host.holder import Holder, boot_id, me
from engines.host.machine import hardware, machine_id, other

MARK = "crashcart.v1"
TAG = re.compile(
    r"^crashcart\.v1/host=(?P<host>[A-Za-z0-9._-]+)/boot=(?P<boot>[0-9a-f-]{36})/pids=(?P<pids>\d+)"
    r"/pid=(?P<pid>\d+)/started=(?P<started>\d+)/run=(?P<run>[A-Za-z0-9._-]*)$"
)


@dataclass(frozen=True)
class Owner:
    """The process that made a snapshot."""

    host: str
    pids: int
    holder: Holder

    def tag(self) -> str:
        """As a tag, of characters that LVM allows."""
        who = self.holder
        return (
            f"{MARK}/host={self.host}/boot={who.boot}/pids={self.pids}"
            f"/pid={who.pid}/started={who.started}/run={who.run}"
        )

    def fate(self) -> str:
        """`dead`, `alive`, or why it cannot be known from here."""
        if self.holder.boot != boot_id():  # no two machines have a boot in common, whatever else was cloned
            return f"made by another machine ({self.host})" if _another(self.host) else "dead"
        if self.pids != pid_namespace():
            return "made in another container of this machine"
        return "alive" if self.holder.alive() else "dead"


def mine(run: str) -> Owner:
    """This process, working for `run`."""
    return Owner(machine(), pid_namespace(), me(re.sub(r"[^A-Za-z0-9._-]", "-", run)[:128]))


def parse(tag: str) -> Owner | None:
    """The owner that a tag names; None for any other tag."""
    found = TAG.match(tag)
    if found is None or tag.endswith("\n"):
        return None
    holder = Holder(int(found["pid"]), int(found["started"]), found["boot"], found["run"])
    return Owner(found["host"], int(found["pids"]), holder)


def machine() -> str:
    """This installation's id or name, and its hardware's marks: volume groups on shared storage are seen by several."""
    known = machine_id() or _named("-") or "unknown"
    return ".".join((known, *hardware()))


def _named(dot: str) -> str:
    """The machine's name, in letters that a tag may have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).replace(".", dot)


def _another(host: str) -> bool:
    """Whether that is no name of this machine, as it was or as it is."""
    if host == _named(".") and not machine_id():  # as earlier versions put it, dots and all
        return False
    (theirs, *marks), (ours, *own) = host.split("."), machine().split(".")
    return theirs != ours or other(marks, own)


def pid_namespace() -> int:
    """Which process ids these are."""
    return Path("/proc/self/ns/pid").stat().st_ino
