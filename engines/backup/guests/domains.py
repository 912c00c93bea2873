"""Guests from libvirt: what a domain's description says of its disks, its agent and its backup.

Source: libvirt domain XML: <disk>, <channel>, <metadata>, <qemu:commandline>.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree

from engines.backup.guests.model import Guest, GuestDisk
from engines.host.libvirt import AGENT
from engines.host.virsh import descriptions

ANSWERS_WITHIN = 60.0  # s a question; a host with a thousand guests is slow, one that hangs says nothing
OURS = "{urn:crashcart:1}backup"  # virsh metadata VM urn:crashcart:1 --key crashcart --set '<backup policy="gold"/>'
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
SNAPSHOTS = ("raw", "")  # formats that a snapshot of a volume holds whole


def domains(connect: str) -> tuple[list[Guest], list[str]]:
    """Every domain, and the UUIDs of those that are there and could not be read. Raises VirshFailed."""
    described = descriptions(connect, ANSWERS_WITHIN)
    found = [one for one in map(guest, described.texts) if one is not None]
    return found, described.unread


def guest(text: str) -> Guest | None:
    """The guest that a description is about; None where it is none."""
    try:
        domain = ElementTree.fromstring(text)  # noqa: S314  libvirt wrote it, not a guest
    except ElementTree.ParseError:
        return None
    ours = domain.find(f"./metadata/{OURS}")
    says = ours.attrib if ours is not None else {}
    running = domain.get("id") is not None
    qmp = _qmp(domain)
    disks = tuple(_disks(domain, running=running and not qmp))
    return Guest(
        uuid=domain.findtext("uuid", "").strip(),
        name=domain.findtext("name", "").strip(),
        running=running,
        found="libvirt",
        disks=disks,
        agent=_agent(domain) if running else "",
        qmp=qmp if running else "",
        policy=says.get("policy", ""),
        skip=says.get("skip", ""),
        tags=tuple(says.get("tags", "").split()),
        why="" if disks else "it has no disk",
    )


def _disks(domain: ElementTree.Element, *, running: bool) -> Iterator[GuestDisk]:
    """Its disks, without drives for discs; running: whether what is a file is being written, with no way to hold it."""
    for disk in domain.iterfind("./devices/disk"):
        if disk.get("device", "disk") not in ("disk", "lun"):
            continue
        kind, source = disk.get("type", ""), disk.find("source")
        driver, target = disk.find("driver"), disk.find("target")
        form = driver.get("type", "") if driver is not None else ""
        place = _place(kind, source)
        yield GuestDisk(
            name=target.get("dev", "") if target is not None else "",
            source=place,
            kind=kind,
            format=form,
            readonly=disk.find("readonly") is not None,
            shareable=disk.find("shareable") is not None,
            transient=disk.find("transient") is not None,
            why=_why(kind, form, place, disk, running=running),
        )


def _place(kind: str, source: ElementTree.Element | None) -> str:
    if source is None:
        return ""
    if kind == "network":
        return f"{source.get('protocol', 'network')}:{source.get('name', '')}"
    if kind == "volume":
        return f"{source.get('pool', '')}/{source.get('volume', '')}"
    return source.get("file") or source.get("dev") or source.get("dir") or ""


def _why(kind: str, form: str, place: str, disk: ElementTree.Element, *, running: bool) -> str:
    if kind not in ("file", "block"):
        return f"{place or kind} is no file and no device of this host ({kind} disks are not read)"
    if not place:
        return "it has no medium"
    if disk.find("transient") is not None:
        return "it is transient: what is written to it is thrown away"
    if disk.find("shareable") is not None:
        return "it is shared with other guests: no snapshot of one of them holds it"
    if kind == "block" and form not in SNAPSHOTS:
        return f"it is {form} on a device, which is not read"
    if kind == "file" and form not in ("raw", "qcow2", ""):
        return f"its format {form} is not read"
    if kind == "file" and running:
        return IN_USE
    return ""


IN_USE = "its guest runs and writes to the file: give it a QMP socket, stop it, or allow running: read"


def _agent(domain: ElementTree.Element) -> str:
    """The socket of the guest agent's channel."""
    for channel in domain.iterfind("./devices/channel"):
        source, target = channel.find("source"), channel.find("target")
        if target is not None and source is not None and target.get("name") == AGENT:
            return source.get("path", "")
    return ""


def _qmp(domain: ElementTree.Element) -> str:
    """A QMP socket of ours among the arguments that libvirt hands through; its own monitor is not for others."""
    said = [arg.get("value", "") for arg in domain.iterfind(f"./{QEMU}commandline/{QEMU}arg")]
    for option, value in pairwise(said):
        if option == "-qmp" and value.startswith("unix:"):
            return value.removeprefix("unix:").split(",")[0]
    return ""
