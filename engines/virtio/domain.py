"""A libvirt domain by its name: which disks it has, and its description with everything on virtio.

Source: libvirt domain XML, <disk>, <interface>; virsh(1).
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr, unescape

from engines.host.libvirt import DEFINED, Domain, DomainDisk, parsed
from engines.host.virsh import VirshFailed, virsh
from engines.job.errors import Refused

ANSWERS_WITHIN = 10.0  # s
DISK = re.compile(r"<disk\b[^>]*\bdevice=['\"]disk['\"].*?</disk>", re.DOTALL)
CARD = re.compile(r"<interface\b.*?</interface>", re.DOTALL)
TARGET = re.compile(r"<target\b[^>]*/>")
ADDRESS = re.compile(r"[ \t]*<address\b[^>]*/>\n?")
MODEL = re.compile(r"<model\b[^>]*\btype=['\"]([^'\"]*)['\"][^>]*/>")
SOURCE = re.compile(r"(?P<begun><source\b[^>]*?\b)(?:file|dev)=(?P<quote>['\"])(?P<path>.*?)(?P=quote)")
# libvirt refuses these on a disk of virtio
SCSI = re.compile(r"[ \t]*<(vendor|product|wwn)>[^<]*</\1>\n?")
PASSED = re.compile(r"<interface\b[^>]*\btype=['\"](?:hostdev|vdpa)['\"]")  # a card of the host's: it has no model
QUOTES = {"&apos;": "'", "&quot;": '"'}
OLD = ("ide", "sata", "scsi", "xen")


def text_of(name: str) -> str:
    """The domain's stored description. Raises Refused where there is none."""
    with suppress(VirshFailed):  # no virsh, or a libvirtd that hangs: a file has it, too
        return virsh("--readonly", "dumpxml", "--inactive", "--domain", name, within=ANSWERS_WITHIN)
    try:
        return (DEFINED / f"{Path(name).name}.xml").read_text("utf-8", "replace")
    except OSError:
        raise Refused(f"libvirt knows no domain {name}", "virsh list --all names them; or name the image") from None


def disks(name: str) -> list[Path]:
    """Its disks that a conversion moves, in the guest's order. Raises Refused where it has none."""
    domain = parsed(text_of(name)) or Domain(name, ())
    found = sorted((disk for disk in domain.disks if disk.bus in OLD and _is_disk(disk.path)), key=_place)
    if not found:
        named = ", ".join(f"{disk.target} on {disk.bus}" for disk in domain.disks) or "none"
        raise Refused(f"domain {name} has no disk on {', '.join(OLD)} (it has: {named})", "name the image instead")
    return [disk.path for disk in found]


def _place(disk: DomainDisk) -> tuple[int, str]:
    return len(disk.target), disk.target


def _is_disk(path: Path) -> bool:
    return path.suffix.lower() != ".iso"


def renamed(text: str) -> dict[str, str]:
    """Each moving disk's new name by its old one, in the guest's order, beside those that are on virtio already."""
    domain = parsed(text) or Domain("", ())
    taken = {disk.target for disk in domain.disks if disk.bus == "virtio"}
    free = (f"vd{letter}" for letter in "abcdefghijklmnopqrstuvwxyz" if f"vd{letter}" not in taken)
    moving = sorted((disk for disk in domain.disks if disk.bus in OLD), key=_place)
    moving = [disk for disk in moving if _is_disk(disk.path)]
    return {disk.target: new for disk, new in zip(moving, free, strict=False)}


@dataclass(frozen=True)
class Replaced:
    """A disk's image that another one takes the place of, with that one's format."""

    old: Path
    new: Path
    format: str

    def within(self, block: str) -> str:
        """A <disk> with the new image, where it has the old one."""
        source = SOURCE.search(block)
        if source is None or not DomainDisk(Path(unescape(source["path"], QUOTES))).at(self.old):
            return block
        made = f"file={quoteattr(str(self.new))}"
        block = SOURCE.sub(lambda found: found["begun"] + made, block, count=1)
        block = re.sub(r"(<disk\b[^>]*\btype=)(['\"])\w+\2", r"\1\2file\2", block, count=1)
        return re.sub(r"(<driver\b[^>]*\btype=)(['\"])\w+\2", rf"\1\2{self.format}\2", block, count=1)


def moved(text: str, replaced: Replaced | None = None) -> str:
    """The description with each disk and network card on virtio; all else stays byte for byte."""
    names = renamed(text)

    def disk(found: re.Match[str]) -> str:
        block = found.group()
        target = TARGET.search(block)
        if target is None or not re.search(rf"\bbus=['\"](?:{'|'.join(OLD)})['\"]", target.group()):
            return block
        name = re.search(r"\bdev=['\"](\w+)['\"]", target.group())
        block = SCSI.sub("", ADDRESS.sub("", replaced.within(block) if replaced else block))
        return TARGET.sub(
            f"<target dev='{names.get(name.group(1) if name else '', 'vda')}' bus='virtio'/>", block, count=1
        )

    def card(found: re.Match[str]) -> str:
        block = found.group()
        model = MODEL.search(block)
        if PASSED.match(block) or (model is not None and model.group(1).startswith("virtio")):
            return block
        block = ADDRESS.sub("", block)
        if model is not None:
            return MODEL.sub("<model type='virtio'/>", block, count=1)
        return re.sub(r"([ \t]*)</interface>", r"\1  <model type='virtio'/>\n\1</interface>", block, count=1)

    return CARD.sub(card, DISK.sub(disk, text))
