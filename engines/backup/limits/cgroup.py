"""Control groups as they are mounted here: where, which group a process is in, what limits hold there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.host.device import Device
from engines.host.mountinfo import mounts

V1_READS, V2_LIMITS = "blkio.throttle.read_bps_device", "io.max"


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy that can limit reading."""

    version: Literal[1, 2]
    root: Path

    def group(self, pid: int | str = "self") -> Path:
        """The folder of the group that a process is in. Raises OSError."""
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if (controllers == "") if self.version == 2 else ("blkio" in controllers.split(",")):
                return self.root / path.lstrip("/")
        return self.root

    def limits(self, group: Path) -> dict[str, int]:
        """Bytes a second that may be read in this very group, by device number."""
        name = V1_READS if self.version == 1 else V2_LIMITS
        try:
            lines = (group / name).read_text().splitlines()
        except OSError:
            return {}  # the root group has no limits
        return {number: rate for number, rate in map(_parsed, lines) if rate}

    def allowed(self, group: Path, devices: set[Device]) -> int:
        """The least that this group and those above it allow for any of the devices; 0 where nothing limits them."""
        wanted = {str(device) for device in devices}
        rates = []
        while group == self.root or self.root in group.parents:
            rates += [rate for number, rate in self.limits(group).items() if number in wanted]
            group = group.parent
        return min(rates, default=0)


def _parsed(line: str) -> tuple[str, int]:
    number, _, rest = line.partition(" ")
    for word in rest.split():
        if word.startswith("rbps=") or "=" not in word:
            text = word.removeprefix("rbps=")
            return number, int(text) if text.isdigit() else 0
    return number, 0


def mounted() -> Hierarchy | None:
    """The hierarchy that has the block controller here; None where there is none."""
    found: Hierarchy | None = None
    for mount in mounts():
        where = Path(mount.folder)
        if mount.kind == "cgroup" and "blkio" in mount.options.split(","):
            return Hierarchy(1, where)
        if mount.kind == "cgroup2" and "io" in _controllers(where):
            found = Hierarchy(2, where)
    return found


def _controllers(where: Path) -> list[str]:
    try:
        return (where / "cgroup.controllers").read_text().split()
    except OSError:
        return []
