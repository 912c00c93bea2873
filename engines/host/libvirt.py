"""libvirt's description of a domain, read from its XML: its name, its disks and their limits, and what else it keeps.

Source: libvirt domain XML, <disk>, <iotune>, <blkiotune>, <nvram>, <tpm> and <channel>.
State files of running domains need no connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # most hosts of a run have no domain to read
    from xml.etree import ElementTree

STATE = Path("/run/libvirt/qemu")  # one XML a running domain
DEFINED = Path("/etc/libvirt/qemu")  # one XML a domain, running or not
AGENT = "org.qemu.guest_agent.0"
TUNED = ("total_bytes_sec", "read_bytes_sec")


@dataclass(frozen=True)
class DomainDisk:
    """One disk: its file or device; `target` and `bus` as the guest sees it; its read limit in bytes/s, 0 for none.

    path: `.` where it is no local file or device, or has no medium. format: as the domain has it opened, or empty.
    device: disk, lun, cdrom or floppy. words: where it lies, for people. volume: (pool, name) of a storage volume.
    """

    path: Path
    target: str = ""
    bus: str = ""
    limit: int = 0
    format: str = ""
    device: str = "disk"
    words: str = ""
    volume: tuple[str, str] = ("", "")
    readonly: bool = False
    transient: bool = False

    def at(self, path: Path) -> bool:
        """Whether it is that very file or device."""
        try:
            return self.path.samefile(path)
        except OSError:
            return False


@dataclass(frozen=True)
class Domain:
    """One virtual machine. disks: those with a path; elsewhere: those without.

    nvram: its UEFI variables. tpm: type of its TPM's backend, such as emulator, or empty. agent: its guest agent's
    socket on this host.
    """

    name: str
    disks: tuple[DomainDisk, ...]
    elsewhere: tuple[DomainDisk, ...] = ()
    uuid: str = ""
    nvram: Path | None = None
    tpm: str = ""
    agent: Path | None = None


def parsed(text: str) -> Domain | None:
    """The domain that a description or a state file is about; None for any other text."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)  # noqa: S314  libvirt wrote it, not a guest
    except ElementTree.ParseError:
        return None
    domain = root if root.tag == "domain" else root.find(".//domain")
    if domain is None:
        return None
    every = tuple(_disks(domain))
    nvram = domain.findtext("./os/nvram", "").strip()
    backend = domain.find("./devices/tpm/backend")
    return Domain(
        name=domain.findtext("name", "").strip(),
        disks=tuple(disk for disk in every if disk.path.name),
        elsewhere=tuple(disk for disk in every if not disk.path.name),
        uuid=domain.findtext("uuid", "").strip(),
        nvram=Path(nvram) if nvram else None,
        tpm=backend.get("type", "") if backend is not None else "",
        agent=_agent(domain),
    )


def _agent(domain: ElementTree.Element) -> Path | None:
    for channel in domain.iterfind("./devices/channel"):
        target, source = channel.find("target"), channel.find("source")
        if target is not None and target.get("name") == AGENT and source is not None and source.get("path"):
            return Path(source.get("path", ""))
    return None


def _disks(domain: ElementTree.Element) -> Iterator[DomainDisk]:
    tuned = {
        device.findtext("path", ""): _least(device, ("read_bytes_sec",))
        for device in domain.iterfind("./blkiotune/device")
    }
    for disk in (found for part in domain if part.tag != "metadata" for found in part.iter("disk")):
        source, target = disk.find("source"), disk.find("target")
        path = (source.get("dev") or source.get("file") or "") if source is not None else ""
        iotune, driver = disk.find("iotune"), disk.find("driver")
        form = driver.get("type", "") if driver is not None else ""
        rates = [_least(iotune, TUNED) if iotune is not None else 0, tuned.get(path, 0)]
        name, bus = (target.get("dev", ""), target.get("bus", "")) if target is not None else ("", "")
        yield DomainDisk(
            path=Path(path),
            target=name,
            bus=bus,
            limit=min(filter(None, rates), default=0),
            format=form,
            device=disk.get("device", "disk"),
            words=path or _elsewhere(disk.get("type", ""), source),
            volume=(source.get("pool", ""), source.get("volume", "")) if source is not None else ("", ""),
            readonly=disk.find("readonly") is not None,
            transient=disk.find("transient") is not None,
        )


def _elsewhere(kind: str, source: ElementTree.Element | None) -> str:
    """Where a disk without a path lies."""
    if source is None:
        return "no medium"
    if source.get("volume"):
        return f"volume {source.get('volume')} of pool {source.get('pool', '')}"
    return f"{kind} {source.get('protocol', '')} {source.get('name', '')}".strip()


def _least(element: ElementTree.Element, names: tuple[str, ...]) -> int:
    texts = [element.findtext(name, "").strip() for name in names]
    return min((int(text) for text in texts if text.isdigit() and int(text)), default=0)


def format_of(path: Path, folders: Sequence[Path] = (STATE, DEFINED)) -> str:
    """The format that a domain of this host has `path` opened by; empty where none has it, or they do not agree."""
    found = set()
    for description in (each for folder in folders if folder.is_dir() for each in sorted(folder.glob("*.xml"))):
        try:
            domain = parsed(description.read_text(errors="replace"))
        except OSError:
            continue
        found |= {disk.format for disk in domain.disks if disk.at(path)} if domain else set()
    return found.pop() if len(found) == 1 else ""


def running(path: Path, state: Path = STATE) -> str:
    """The name of the running domain that has `path` among its disks, or an empty text."""
    for description in sorted(state.glob("*.xml")) if state.is_dir() else ():
        try:
            domain = parsed(description.read_text(errors="replace"))
        except OSError:
            continue
        if domain and any(disk.at(path) for disk in domain.disks):
            return domain.name or description.stem
    return ""
