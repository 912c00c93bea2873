"""The images of a running VM as sources, all of one moment, by its QMP socket."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from typing_extensions import override

from engines.backup.sources.nbd import Extent, NbdSource
from engines.backup.sources.qmp.monitor import Monitor, QemuDisk, own
from engines.backup.sources.source import Source
from engines.backup.sources.stillness import Stillness
from engines.job.errors import Failed

CONSISTENT = "crash-consistent"


class QmpSource(NbdSource):
    """A disk of a running VM as it was in one moment; see Source."""

    def __init__(self, disk: QemuDisk, socket: Path, export: str, monitor: Monitor) -> None:
        self.export = export.encode()
        self._name = export
        self._monitor = monitor
        extents = [Extent(0, disk.size)]
        super().__init__(disk.path, socket, extents, 0, Stillness([]))
        self.words = f"disk {disk.path} of the running VM at {monitor.path}"
        self.reads_from = "QEMU reads it, and the VM's own disks with it"
        self.notes = ("QEMU holds one moment of it while the VM goes on",)

    @property
    @override
    def consistency(self) -> str:
        return CONSISTENT

    @property
    @override
    def alone(self) -> str:
        return CONSISTENT

    @property
    @override
    def one_moment(self) -> bool:
        return True

    @property
    @override
    def warnings(self) -> tuple[str, ...]:
        return ()

    @override
    def check(self) -> tuple[str, ...]:
        if not self._monitor.holds(self._name):
            raise Failed(
                f"QEMU let go of the moment of {self._where} before it was read, as where a disk is full",
                f"no point was made; make room in {self._where.parent}, where what the VM overwrites is kept meanwhile",
            )
        return ()


class QmpLook(QmpSource):
    """What a plan shows of it; nothing is held, and nothing can be read."""

    def __init__(self, disk: QemuDisk, monitor: Monitor) -> None:
        self._opened = []
        self.size = disk.size
        self.words = f"disk {disk.path} of the running VM at {monitor.path}"
        found = disk.path.stat()
        self.identity = f"{found.st_dev} {found.st_ino} {disk.size}"
        self.keeps = ""
        self.notes = ()


@contextmanager
def looked(wheres: Sequence[Path], socket: Path) -> Iterator[tuple[Source, ...]]:
    """The disks, with nothing made for them. Raises Refused."""
    with closing(Monitor(socket)) as monitor:
        yield tuple(QmpLook(monitor.disk(where), monitor) for where in wheres)


@contextmanager
def opened(wheres: Sequence[Path], socket: Path) -> Iterator[tuple[Source, ...]]:
    """The disks of one moment, alive within the `with`. Raises Refused, Failed."""
    with closing(Monitor(socket)) as monitor, tempfile.TemporaryDirectory(prefix="crashcart-qmp-") as folder:
        dead = monitor.sweep()  # before the disks are looked for: a job stands before its disk under a name of its own
        disks = [monitor.disk(where) for where in wheres]
        for stem in dead:
            for disk in disks:
                for name in (stem, stem.rpartition("-")[0]):  # earlier versions' had the number of the process alone
                    _overlay(disk, name).unlink(missing_ok=True)
        owner = disks[0].path.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        listen = Path(folder, "s")
        overlays = [_overlay(disk, own()) for disk in disks]
        try:
            names = monitor.hold(disks, overlays, listen)
            with ExitStack() as stack:
                yield tuple(
                    stack.enter_context(closing(QmpSource(disk, listen, name, monitor)))
                    for disk, name in zip(disks, names, strict=True)
                )
        finally:
            monitor.let_go()
            for overlay in overlays:
                overlay.unlink(missing_ok=True)


def _overlay(disk: QemuDisk, stem: str) -> Path:
    """Where what the VM overwrites meanwhile is kept: beside the image, where QEMU may write and room is for it."""
    return disk.path.with_name(f".{disk.path.name}.{stem}.qcow2")
