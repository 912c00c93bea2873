"""Reading held to a rate by the kernel: reader threads in a group of cgroup v1, the process in one of v2.

Where another process reads for us (qemu-nbd), it is the one that goes in; `reader` is its id, 0 for ourselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from engines.backup.limits.cgroup import V1_READS, V2_LIMITS, Hierarchy
from engines.host.device import Device
from engines.host.holder import start_time

GROUP = re.compile(r"^crashcart-(\d+)-(\d+)-[0-9a-f]+$")
EMPTIES_WITHIN = 5.0  # s; a thread that has ended leaves its group a moment later
ANSWERS_WITHIN = 20.0  # s for systemd


class Unavailable(Exception):
    """This machine does not let us; the words say why."""


class ThreadGroup:
    """A group of cgroup v1 for some threads of this process, or for all of a reader. Raises Unavailable."""

    by = "cgroup v1"

    def __init__(self, hierarchy: Hierarchy, device: Device, rate: int, reader: int = 0) -> None:
        self._home = _own(hierarchy)
        self._device = device
        self._folder = _made(self._home)
        self._reader = reader
        self._inside: set[int] = set()
        try:
            (self._folder / V1_READS).write_text(f"{device} {rate}")
            if hierarchy.limits(self._folder).get(str(device)) != rate:
                raise Unavailable(f"the kernel takes no limit for {device}")
            if reader:
                (self._folder / "cgroup.procs").write_text(str(reader))
        except OSError as error:
            self.close()
            raise Unavailable(f"{self._folder / V1_READS}: {error.strerror}") from None
        except Unavailable:
            self.close()
            raise

    def enter(self) -> None:
        """Take the calling thread in."""
        if self._reader:
            return
        thread = threading.get_native_id()
        (self._folder / "tasks").write_text(str(thread))
        self._inside.add(thread)

    def close(self) -> None:
        """Let every thread go and remove the group."""
        for thread in self._inside:
            with contextlib.suppress(OSError):  # it has ended
                (self._home / "tasks").write_text(str(thread))
        if self._reader:
            with contextlib.suppress(OSError):
                (self._home / "cgroup.procs").write_text(str(self._reader))
        _remove(self._folder)


class ProcessGroup:
    """A group of cgroup v2 for a whole process: `io` is no threaded controller. Raises Unavailable."""

    by = "cgroup v2"

    def __init__(self, hierarchy: Hierarchy, device: Device, rate: int, reader: int = 0) -> None:
        self._process = reader or os.getpid()
        self._home = _own(hierarchy)
        self._folder = _made(_parent(hierarchy, self._home))
        try:
            (self._folder / V2_LIMITS).write_text(f"{device} rbps={rate}")
            if hierarchy.limits(self._folder).get(str(device)) != rate:
                raise Unavailable(f"the kernel takes no limit for {device}")
            (self._folder / "cgroup.procs").write_text(str(self._process))
        except OSError as error:
            _remove(self._folder)
            raise Unavailable(f"{self._folder}: {error.strerror}") from None
        except Unavailable:
            _remove(self._folder)
            raise

    def enter(self) -> None:
        """Every thread is in it already."""

    def close(self) -> None:
        """Go back to where the process was and remove the group."""
        with contextlib.suppress(OSError):  # its old group may be gone; the limit goes in any case
            (self._folder / V2_LIMITS).write_text(f"{self._limited()} rbps=max")
        with contextlib.suppress(OSError):
            (self._home / "cgroup.procs").write_text(str(self._process))
        _remove(self._folder)

    def _limited(self) -> str:
        return (self._folder / V2_LIMITS).read_text().split(" ")[0]


class Scope:
    """A scope of systemd for a whole process, on cgroup v2. Raises Unavailable."""

    by = "a systemd scope"

    def __init__(self, hierarchy: Hierarchy, device: Device, rate: int, reader: int = 0) -> None:
        if not Path("/run/systemd/system").is_dir() or not shutil.which("busctl"):
            raise Unavailable("systemd does not run here")
        self._unit = f"crashcart-{os.getpid()}-{os.urandom(4).hex()}.scope"
        self._device = device
        process = reader or os.getpid()
        what = ["PIDs", "au", "1", str(process), "IOReadBandwidthMax", "a(st)", "1", device.node, str(rate)]
        self._ask("StartTransientUnit", "ssa(sv)a(sa(sv))", self._unit, "fail", "2", *what, "0")
        end = time.monotonic() + ANSWERS_WITHIN
        while hierarchy.limits(hierarchy.group(process)).get(str(device)) != rate:
            if time.monotonic() > end:
                raise Unavailable(f"systemd set no limit for {device.node}")
            time.sleep(0.05)

    def enter(self) -> None:
        """Every thread is in it already."""

    def close(self) -> None:
        """Lift the limit; the scope itself ends with this process."""
        with contextlib.suppress(Unavailable):  # the process is about to end, and the scope with it
            lifted = ["IOReadBandwidthMax", "a(st)", "1", self._device.node, str(2**64 - 1)]
            self._ask("SetUnitProperties", "sba(sv)", self._unit, "true", "1", *lifted)

    def _ask(self, method: str, *arguments: str) -> None:
        manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
        bus = [] if os.geteuid() == 0 else ["--user"]
        try:
            done = subprocess.run(
                ["busctl", *bus, "call", *manager, method, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ANSWERS_WITHIN,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"systemd does not answer: {error}") from None
        if done.returncode:
            raise Unavailable(f"systemd: {done.stderr.decode('utf-8', 'replace').strip()}")


Group = ThreadGroup | ProcessGroup | Scope


def grouped(hierarchy: Hierarchy, device: Device, rate: int, reader: int = 0) -> Group:
    """The group that fits the hierarchy. Raises Unavailable."""
    if hierarchy.version == 1:
        return ThreadGroup(hierarchy, device, rate, reader)
    try:
        return Scope(hierarchy, device, rate, reader)
    except Unavailable:
        return ProcessGroup(hierarchy, device, rate, reader)


def _own(hierarchy: Hierarchy) -> Path:
    try:
        home = hierarchy.group()
    except OSError as error:
        raise Unavailable(f"the own group is unknown: {error.strerror}") from None
    return home if home.is_dir() else hierarchy.root


def _parent(hierarchy: Hierarchy, home: Path) -> Path:
    """The nearest group above whose children may limit reading: a group with processes gives its children nothing."""
    for group in (home, *home.parents):
        if group == hierarchy.root or hierarchy.root not in group.parents:
            break
        if group != home and "io" in (group / "cgroup.subtree_control").read_text().split():
            return group
    switch = hierarchy.root / "cgroup.subtree_control"
    try:
        if "io" not in switch.read_text().split():
            switch.write_text("+io")
    except OSError as error:
        raise Unavailable(f"{switch}: {error.strerror}") from None
    return hierarchy.root


def _made(parent: Path) -> Path:
    _sweep(parent)
    folder = parent / f"crashcart-{os.getpid()}-{start_time(os.getpid())}-{os.urandom(4).hex()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise Unavailable(f"{parent}: {error.strerror}") from None
    return folder


def _sweep(parent: Path) -> None:
    """Remove groups that killed runs left; one with processes in it does not let itself be removed."""
    for folder in parent.glob("crashcart-*"):
        found = GROUP.match(folder.name)
        if found and start_time(int(found[1])) != int(found[2]):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _remove(folder: Path) -> None:
    end = time.monotonic() + EMPTIES_WITHIN
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                return  # the next run sweeps it
            time.sleep(0.02)
