"""The speed that a disk is allowed: the VM's own limit, else a configured figure, else a measurement that is kept."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.backup.limits import calibrate, cgroup, libvirt, throttle
from engines.host import device, users
from engines.host.device import Device
from engines.job import folders, jobfile
from engines.job.errors import BadParam, Refused

KEPT = 30 * 86400.0  # s; disks are exchanged, arrays rebuilt
PLAUSIBLE = 1 << 20  # bytes/s; a figure below is a slip
QEMU_LIMIT = re.compile(r"(?:throttling\.bps-(?:total|read)|bps(?:_rd)?)=(\d+)")


@dataclass(frozen=True)
class Speed:
    """`rate` in bytes a second, and where that is from in words."""

    rate: float
    origin: str


def allowed(where: Path, size: int, measure: Callable[[str, int], tuple[float, str]] = calibrate.speed) -> Speed:
    """The speed of the disk at `where`, of `size` bytes. Raises Refused.

    measure: reads the disk for a moment; asked only where nobody says how fast it may be.
    """
    for look in (_of_vm, libvirt.limit, _configured):
        found = look(where)
        if found is not None:
            return Speed(*found)
    return _measured(where, size, measure)


def _of_vm(where: Path) -> tuple[float, str] | None:
    """The limit of the group or the command line of a process that has the disk open for writing."""
    devices = set(_devices(where))
    hierarchy = cgroup.mounted()
    for pid in (user.pid for user in users.processes(where.stat()) if user.writes):
        try:
            rate = hierarchy.allowed(hierarchy.group(pid), devices) if hierarchy else 0
            if rate:
                return float(rate), f"the limit of the VM's own cgroup (process {pid})"
            if rate := _of_command_line(pid, where):
                return float(rate), f"the limit of the VM's own QEMU (process {pid})"
        except OSError:
            continue  # gone meanwhile
    return None


def _devices(where: Path) -> Iterator[Device]:
    own = device.of(where)
    if own is not None:
        yield own
        yield from own.below()


def _of_command_line(pid: int, where: Path) -> int:
    """The least limit on the drive whose file is `where`; 0 where there is none."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    rates = []
    for argument in arguments:
        options = argument.decode("utf-8", "replace")
        named = re.search(r"(?:^|,)(?:file|filename|file\.filename)=((?:[^,]|,,)*)", options)
        if named and _same(Path(named[1].replace(",,", ",")), where):
            rates += [int(rate) for rate in QEMU_LIMIT.findall(options) if int(rate)]
    return min(rates, default=0)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.stat(), other.stat()) or (
            one.is_block_device() and one.stat().st_rdev == other.stat().st_rdev
        )
    except OSError:
        return False


# ── what was configured ─────────────────────────────────────────────────────────────────────────────


def figures() -> Path:
    """The file of configured speeds: a line a disk, `/dev/vg/web1: 200M`, in bytes a second."""
    return folders.config("speeds.yaml")


def _configured(where: Path) -> tuple[float, str] | None:
    """The figure of the disk itself, else of the devices below it."""
    known = _figures()
    for path, rate in known.items():
        if _same(Path(path), where):
            return float(rate), f"configured in {figures()}"
    devices = {str(one) for one in _devices(where)}
    for path, rate in known.items():
        if Path(path).is_block_device() and str(device.of(Path(path))) in devices:
            return float(rate), f"configured for {path} in {figures()}"
    return None


def _figures() -> dict[str, int]:
    import yaml

    path = figures()
    try:
        if (raw := jobfile.configured(path, "file of speeds")) is None:
            return {}
        found = yaml.safe_load(raw)
    except (RecursionError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(f"{path} cannot be read: {str(error).splitlines()[0]}", "mend it, or remove it") from None
    if not isinstance(found, dict):
        raise Refused(f"{path} is no list of disks", "write a line a disk, such as /dev/vg/web1: 200M")
    return {str(name): _figure(path, str(name), str(value)) for name, value in found.items()}


def _figure(path: Path, name: str, text: str) -> int:
    try:
        rate = throttle.parse(text).rate
    except BadParam:
        rate = 0
    if rate < PLAUSIBLE:
        raise Refused(f"{path} gives {text!r} for {name}", "allowed are bytes a second of 1M or more, like 200M")
    return rate


# ── what was measured ───────────────────────────────────────────────────────────────────────────────


class Measured(msgspec.Struct):
    """A measurement: bytes a second, and when (Unix time)."""

    rate: float
    at: float


def _memory() -> Path:
    return folders.cache("speeds.json")


def _measured(where: Path, size: int, measure: Callable[[str, int], tuple[float, str]]) -> Speed:
    own = device.of(where)
    name = own.lasting if own else ""
    known = _kept().get(name)
    if known is not None and 0 <= time.time() - known.at < KEPT:
        day = time.strftime("%Y-%m-%d", time.localtime(known.at))
        return Speed(known.rate, f"measured on {day}; the device's own where nobody says less")
    rate, origin = measure(str(where), size)
    if name:
        _keep(name, Measured(rate, time.time()))
    return Speed(rate, f"{origin} now")


def _kept() -> dict[str, Measured]:
    try:
        return msgspec.json.decode(_memory().read_bytes(), type=dict[str, Measured])
    except (OSError, Refused, msgspec.MsgspecError):
        return {}


def _keep(name: str, found: Measured) -> None:
    """A cache that cannot be written costs another measurement, nothing else."""
    from engines.host.files import write_whole

    try:
        path = _memory()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode({**_kept(), name: found}))
    except (OSError, Refused):
        return
