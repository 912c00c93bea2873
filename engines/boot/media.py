"""The machine QEMU is asked to be: media in boot order, memory, firmware, as data and as a command line."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.job.errors import Refused

OVMF = Path("/usr/share/OVMF")
IDE_PLACES = tuple((bus, unit) for bus in (0, 1) for unit in (0, 1))


@dataclass(frozen=True)
class Disc:
    """An ISO image in a CD drive; `usb` is what a BMC's virtual CD looks like."""

    path: Path
    bus: Literal["ide", "usb", "ahci"] = "ide"


@dataclass(frozen=True)
class Disk:
    """A disk image. With `snapshot` what the guest writes is thrown away and the file stays as it is."""

    path: Path
    format: Literal["raw", "qcow2", "vdi", "vmdk", "vpc"] = "raw"
    bus: Literal["ide", "virtio", "usb", "ahci"] = "ide"
    snapshot: bool = True


@dataclass(frozen=True)
class Hardware:
    """One machine. The order of `media` is the boot order.

    memory: MiB. debug_exit: a guest's write of V to port F4h ends QEMU with status 2V+1.
    network: a card without a cable, for guests that wait for one. extra: further QEMU arguments.
    """

    media: tuple[Disc | Disk, ...]
    memory: int = 64
    cpus: int = 1
    firmware: Literal["bios", "ovmf"] = "bios"
    network: bool = False
    debug_exit: bool = False
    extra: tuple[str, ...] = ()

    @property
    def opens_later(self) -> bool:
        """Whether QEMU opens files by name while the guest runs, as for a folder that it shares."""
        return any(word in ("-fsdev", "-virtfs") for word in self.extra)


def escaped(path: Path) -> str:
    """An absolute path for an option: QEMU reads `,,` as a comma; the leading `/` keeps `a:b` a path."""
    return str(path.absolute()).replace(",", ",,")


def arguments(hardware: Hardware, folder: Path) -> list[str]:
    """QEMU's arguments for the hardware; firmware variables are copied into `folder`.

    Raises Refused for media that are not there and for more media than a bus takes.
    """
    args = ["-m", str(hardware.memory), "-smp", str(hardware.cpus), "-boot", "order=dc,menu=off"]
    args += _firmware(hardware, folder)
    buses = [medium.bus for medium in hardware.media]
    if "usb" in buses:
        args += ["-device", "qemu-xhci,id=usb"]  # an UHCI port is ten times slower under load
    if "ahci" in buses:
        args += ["-device", "ahci,id=ahci"]
    taken = {"ide": 0, "usb": 0, "ahci": 0, "virtio": 0}
    for number, medium in enumerate(hardware.media):
        args += _medium(medium, number, taken[medium.bus])
        taken[medium.bus] += 1
    if hardware.network:
        args += ["-device", "e1000"]
    if hardware.debug_exit:
        args += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    return [*args, *hardware.extra]


def _medium(medium: Disc | Disk, number: int, place: int) -> list[str]:
    if not medium.path.exists():
        raise Refused(f"{medium.path} does not exist", "name an image that is there")
    name = f"medium{number}"
    if isinstance(medium, Disc):
        drive = f"if=none,id={name},format=raw,media=cdrom,readonly=on"
    else:
        drive = f"if=none,id={name},format={medium.format},snapshot={'on' if medium.snapshot else 'off'}"
    kind = "ide-cd" if isinstance(medium, Disc) else "ide-hd"
    match medium.bus:
        case "ide":
            device = f"{kind},{_ide_place(place)}"
        case "ahci":
            device = f"{kind},bus=ahci.{place}"
        case "usb":
            device = "usb-storage,bus=usb.0"
        case "virtio":
            device = "virtio-blk-pci"
    return [
        *("-drive", f"file={escaped(medium.path)},{drive}"),
        *("-device", f"{device},drive={name},bootindex={number}"),
    ]


def _ide_place(place: int) -> str:
    if place >= len(IDE_PLACES):
        raise Refused(
            f"{place + 1} media on IDE, which takes {len(IDE_PLACES)}",
            "put some of them on virtio, ahci or usb",
        )
    bus, unit = IDE_PLACES[place]
    return f"bus=ide.{bus},unit={unit}"


def _firmware(hardware: Hardware, folder: Path) -> list[str]:
    if hardware.firmware == "bios":
        return []
    code, blank = OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"
    if not (code.exists() and blank.exists()):
        raise Refused(f"{code} is not installed", "install it: apt-get install ovmf")
    variables = folder / "vars.fd"
    shutil.copyfile(blank, variables)
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={escaped(code)}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={escaped(variables)}"),
    ]
