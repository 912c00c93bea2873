"""Trial boots of a disk: one a bus, each on a fresh throwaway layer, until one of them is no failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.boot.firmware import Firmware
from engines.boot.machine import Machine, NotStarted
from engines.boot.media import Disk, Hardware
from engines.boot.watch import Seen, Signs, watched
from engines.job.contract import AnyEvent, Cancel, Log, Progress
from engines.job.errors import Failed

Bus = Literal["ide", "virtio", "ahci"]
AUTO: tuple[Bus, ...] = ("ide", "virtio", "ahci")  # the old guest's first: nearly everything knows it

PLACES: dict[Bus, int] = {"ide": 4, "ahci": 6}  # of a machine; further disks hang on virtio


@dataclass(frozen=True, kw_only=True)
class Trials:
    """lay: makes a throwaway layer over the disk; others: the same of further disks of that machine.

    shots: where pictures go. memory in MiB, deadline in seconds a bus.
    expect: what must come; None for a usual sign of life.
    """

    lay: Callable[[Path], Path]
    others: tuple[Callable[[Path], Path], ...] = ()
    scratch: Path
    shots: Path
    cancel: Cancel
    firmware: Firmware
    buses: tuple[Bus, ...] = AUTO
    memory: int = 512
    expect: re.Pattern[str] | None = None
    deadline: int = 300

    def run(self) -> Generator[AnyEvent, str | None, tuple[Bus, Seen]]:
        """The bus that decided it, and how it went. Raises Failed, Stopped."""
        for number, bus in enumerate(self.buses):
            yield Log(text=f"booting with the disk on {bus}, {self.firmware}; what the guest writes is thrown away")
            seen = yield from self._boot(bus, number)
            yield Log(text=f"{bus}: {seen.why}")
            if seen.how != "fails" or bus == self.buses[-1]:
                break
        return bus, seen

    def _boot(self, bus: Bus, number: int) -> Generator[AnyEvent, str | None, Seen]:
        layers = [self.scratch / f"{bus}-{place}.qcow2" for place in range(1 + len(self.others))]
        for lay, layer in zip((self.lay, *self.others), layers, strict=True):
            lay(layer)
        media = tuple(
            Disk(layer, format="qcow2", bus=bus if place < PLACES.get(bus, len(layers)) else "virtio", snapshot=False)
            for place, layer in enumerate(layers)
        )
        hardware = Hardware(media=media, memory=self.memory, firmware=self.firmware)
        try:
            with Machine(hardware, check=self.cancel.check) as machine:
                watching = watched(machine, self._signs(), layers[0], self.shots / f"boot-{bus}.png")
                while True:
                    try:
                        seconds = next(watching)
                    except StopIteration as ended:
                        seen: Seen = ended.value
                        return seen
                    done = number * self.deadline + min(int(seconds), self.deadline)
                    yield Progress(done=done, total=len(self.buses) * self.deadline, unit="s")
        except NotStarted as refused:
            raise Failed(refused.why, refused.what_helps) from None
        finally:
            for layer in layers:
                layer.unlink(missing_ok=True)

    def _signs(self) -> Signs:
        if self.expect is None:
            return Signs(within=self.deadline)
        return Signs(up=self.expect, within=self.deadline, pictures=False)
