"""One operation on an image, from the first look to the commit: held, on an overlay, in one appliance.

operation = Surgery.begin(path, cancel)      refuses what is in use or not understood; holds it
operation.appliance.call(...)                everything is written to the overlay
operation.set_aside()                        (optional) what will be committed; later writes are throwaway
operation.prepare(folder / "undo")           both states of every changed byte, on disk
for written in operation.commit(): ...       SIGKILL leaves old, or new, or what `finish`/`take_back` make whole
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from engines.boot.scratch import Scratch
from engines.guest import inuse, overlay, target
from engines.guest.appliance import Appliance
from engines.guest.undolog import Manifest, UndoLog
from engines.job import runs
from engines.job.contract import Cancel
from engines.job.errors import Refused

ROOM = 256 * 1024 * 1024  # bytes for overlay, its copy and the undo log
UNDO = "undo"  # the log's folder within a run's


@dataclass(frozen=True)
class Other:
    """A further disk: looked at, held, never written; `top` is its throwaway overlay."""

    path: Path
    hold: inuse.Hold
    top: Path


def _others(also: Sequence[Path], backing: Sequence[str], folder: Path, powered_off: bool) -> Iterator[Other]:
    for number, path in enumerate(also):
        found = target.look(path, "", backing)
        held = inuse.hold(path, powered_off=powered_off)
        place = folder / f"also{number}"
        try:
            held.refuse_another(found.identity)
            place.mkdir()
            yield Other(path, held, overlay.create(replace(found, held=held.opened), place).top)
        except BaseException:
            held.release()
            raise


@dataclass
class Surgery:
    """An operation in progress; `close` ends the appliance, frees the hold and removes the overlay."""

    target: target.Target
    hold: inuse.Hold
    scratch: Scratch
    layers: overlay.Overlay
    appliance: Appliance
    log: UndoLog | None = None
    others: tuple[Other, ...] = ()
    _aside: Path | None = None

    @staticmethod
    def begin(
        path: Path,
        cancel: Cancel,
        *,
        wanted: str = "",
        backing: Sequence[str] = (),
        powered_off: bool = False,
        also: Sequence[Path] = (),
        bare: bool = False,
        foreign: bool = False,
    ) -> Surgery:
        """Look, hold, lay the overlay, launch. Raises Refused, Stopped, GuestError.

        also: further disks of the guest; what is written to them goes to throwaway overlays and is never committed.
        bare: a disk without a partition table will do. foreign: another hypervisor's image, too.
        """
        refuse_pending(path)
        found = target.look(path, wanted, backing, bare=bare, foreign=foreign)
        held = inuse.hold(path, powered_off=powered_off)
        scratch: Scratch | None = None
        appliance: Appliance | None = None
        others: list[Other] = []
        try:
            held.refuse_another(found.identity)
            found = replace(found, held=held.opened)
            scratch = Scratch()
            _room(scratch.path)
            layers = overlay.create(found, scratch.path)
            others += _others(also, backing, scratch.path, powered_off)
            appliance = Appliance(layers.top, scratch.path, cancel, [other.top for other in others])
            appliance.start()
            return Surgery(found, held, scratch, layers, appliance, others=tuple(others))
        except BaseException:
            if appliance is not None:
                appliance.kill()
            for hold in (held, *(other.hold for other in others)):
                hold.release()
            if scratch is not None:
                scratch.remove()
            raise

    def set_aside(self) -> Path:
        """Put what is on the overlay aside for the commit; from now on the overlay itself is throwaway.

        Everything in the appliance must be unmounted and synced. The path is the throwaway overlay's.
        """
        self._aside = overlay.copy(self.layers.top, self.scratch.path / "committed.qcow2")
        return self.layers.top

    @property
    def outcome(self) -> Path:
        """The layer (qcow2) through which the disk is seen as it will be."""
        return self._aside or self.layers.top

    def end_appliance(self) -> None:
        """Shut the appliance down in order; the image stays held."""
        self.appliance.close()

    def prepare(self, folder: Path) -> Manifest:
        """Fold and write the undo log into `folder`. The image is still untouched. Raises Refused."""
        layers = self.layers
        if self._aside is not None:
            lower = self._aside if self.target.format == "raw" else layers.lower
            layers = overlay.Overlay(self._aside, lower, self.target)
        layers.fold()
        self.log = UndoLog(folder)
        return self.log.prepare(self.target.path, layers.changed(), self.target.size, self.target.source)

    def commit(self) -> Iterator[int]:
        """Write the image; yields bytes written so far."""
        if self.log is None:
            raise RuntimeError("commit before prepare")
        yield from self.log.commit(self.hold)

    def close(self) -> None:
        """End everything; a commit that came to its end stays."""
        self.appliance.kill()
        for hold in (self.hold, *(other.hold for other in self.others)):
            hold.release()
        self.scratch.remove()


def finish(folder: Path) -> Iterator[int]:
    """Write the new state of a commit that was killed."""
    log = UndoLog(folder)
    with _held(log) as held:
        yield from log.commit(held)


def take_back(folder: Path) -> Iterator[int]:
    """Write the original state of a commit, killed or done."""
    log = UndoLog(folder)
    with _held(log) as held:
        yield from log.undo(held)


@contextmanager
def _held(log: UndoLog) -> Iterator[inuse.Hold]:
    path = Path(log.manifest().target)
    if not path.exists():
        raise Refused(f"{path} is no longer there", "bring it back to that place, then try again")
    held = inuse.hold(path, powered_off=True)
    try:
        yield held
    finally:
        held.release()


def pending(path: Path) -> str:
    """The id of a run that was killed while it wrote to `path`, or an empty text."""
    wanted = str(path.resolve())
    for run in runs.every():
        log = UndoLog(run.folder / UNDO)
        if log.unfinished and log.manifest().target == wanted:
            return run.id
    return ""


def refuse_pending(path: Path) -> None:
    """Refuse an image that a killed run has left between two states."""
    holder = pending(path)
    if holder:
        raise Refused(
            f"run {holder} was interrupted while it wrote to {path}",
            f"finish it: crashcart resume {holder}, or take it back: crashcart undo {holder}",
        )


def _room(folder: Path) -> None:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < ROOM:
        raise Refused(f"{folder} has {free >> 20} MiB free, {ROOM >> 20} are needed", "make room, or set TMPDIR")
