"""Guests to operate on, and runs on them with a state folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines import tasks
from engines.boot.media import Disk, Hardware
from engines.boot.watch import Seen
from engines.boot.witness import witness
from engines.guest.operation import kept
from engines.job import journal, runs
from engines.job.contract import AnyEvent, Cancel, Log, Plan
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert, plain
from engines.job.perform import Stop, perform
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import Shape
from tests.agreed import AGREED

BOOTED = r"FIXTURE-BOOTED root=\[(\S*)\] boot=(\S*) swap=(\S*) eth0=(\S*) fail=\[(.*?)\]"
LOST = re.compile(r"Kernel panic.*|Error \d\d.*|No bootable device")


@dataclass(frozen=True)
class Booted:
    """What a rehearsal guest says of itself; `ok` is false where it never came so far, `why` tells."""

    ok: bool
    why: str
    root: str = ""
    boot: str = ""
    swap: str = ""
    eth0: str = ""
    fail: str = ""


@dataclass
class Clinic:
    """One folder with guests and a state of its own."""

    folder: Path

    def guest(self, shape: Shape) -> Path:
        """A fresh guest; one build a shape, then copies."""
        name = "-".join(re.findall(r"\w+", repr(shape)))[-120:]
        built = self.folder / f"built-{abs(hash(shape))}-{name[-20:]}.img"
        if not built.exists():
            build(shape, built)
        number = len(list(self.folder.glob("guest*")))
        copy = self.folder / f"guest{number}.{shape.format}"
        subprocess.run(["cp", "--sparse=always", built, copy], check=True)
        return copy

    def copy(self, image: Path) -> Path:
        """Another one like it."""
        copy = self.folder / f"guest{len(list(self.folder.glob('guest*')))}{image.suffix}"
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        return copy

    @contextmanager
    def state(self) -> Iterator[None]:
        """Runs are kept here."""
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
        try:
            yield
        finally:
            kept.close_all()
            if before is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = before

    def plan(self, task: str, image: Path, **params: Any) -> Plan:
        """Plan and close."""
        engine = tasks.engine(task)
        with self.state():
            return engine.plan(convert(engine.params, {"image": str(image), **params}), Cancel())

    def run(
        self,
        task: str,
        image: Path,
        listen: Callable[[Entry], None] | None = None,
        stop: Stop | None = None,
        **params: Any,
    ) -> tuple[runs.Run, AnyEvent]:
        """Plan, then do it in the plan's own appliance, with a report."""
        engine = tasks.engine(task)
        given = convert(engine.params, {"image": str(image), **params})
        with self.state():
            plan = engine.plan(given, Cancel())
            run = runs.create(Job(task=task, params=plain(given)), plan.target)
            last = perform(run, engine, plan=plan, listen=listen, stop=stop, confirm=AGREED)
        return run, last

    def after(self, run: runs.Run, mode: str) -> AnyEvent:
        """Resume or undo a run."""
        with self.state():
            job = run.job()
            follower = runs.create(job, run.info().target, mode=mode, earlier=run.id)
            return perform(follower, tasks.engine(job.task), confirm=AGREED)


def boot(image: Path, bus: str, *more: Path, form: str = "raw", keep: bool = False) -> Booted:
    """Boot a rehearsal guest on ide or virtio and read what it says; `keep` lets it write to the image."""
    card = "virtio-net-pci" if bus == "virtio" else "rtl8139"
    disk = Disk(image, format=form, bus=bus, snapshot=not keep)  # type: ignore[arg-type]  # the test's own words
    others = [Disk(each, bus=bus) for each in more]  # type: ignore[arg-type]  # the test's own words
    hardware = Hardware(media=(disk, *others), memory=256, extra=("-device", card))
    seen: Seen = witness(hardware, "FIXTURE-BOOTED", hopeless=LOST, deadline=600.0)
    return _booted("".join(line.ljust(80) if len(line) == 80 else line for line in seen.lines), seen.ok, seen.why)


def _booted(text: str, ok: bool, why: str) -> Booted:
    found = re.search(BOOTED, text)
    if not ok or found is None:
        return Booted(False, why)
    root, boot_, swap, eth0, fail = found.groups()
    return Booted(True, why, root, boot_, swap, eth0, fail.strip())


def told(run: runs.Run, which: str = "boot test") -> Booted:
    """What the guest said in a boot of the run's own: the one on virtio, or "boot as it was"."""
    lines = [line for line in logs(run.journal) if line.startswith(f"{which} after ")]
    assert len(lines) == 1, lines
    return _booted(lines[0], True, lines[0])


def logs(path: Path) -> list[str]:
    """Every line that a run's journal tells."""
    return [entry.event.text for entry in journal.entries(path) if isinstance(entry.event, Log)]


def qcow2_of(shape: Shape) -> Shape:
    """The same guest in qcow2."""
    return replace(shape, format="qcow2")
