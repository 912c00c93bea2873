"""What a conversion and its followers are told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from typing_extensions import override

from engines.job.errors import BadParam
from engines.job.params import Params, param
from engines.virtio import domain

FOUND = "left out, a libvirt domain or the name .qcow2 says it, and all else is raw"
BACKING = "a file below a qcow2 image that lies in another folder, named to say that it is meant"
FOREIGN = f"{FOUND}; a .vmdk, .vdi, .vhd or .vhdx that begins so is one"
InPlace = Literal["raw", "qcow2"]
Format = Literal["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"]
VOUCHED = "yes where no lock protects the image (network file system, shared device) and the guest is off everywhere"


class ImageParams(Params, frozen=True, kw_only=True):
    """The guest's disk."""

    image: Annotated[
        str,
        param(
            "Disk image", "the guest's whole disk: a raw or qcow2 file, or a block device", kind="file", positional=True
        ),
    ]
    format: Annotated[Format | None, param("Format", FOREIGN)] = None
    backing: Annotated[tuple[str, ...], param("Backing files", BACKING, kind="file", metavar="FILE")] = ()

    @property
    def path(self) -> Path:
        """The image, symbolic links followed."""
        return Path(self.image).resolve()


class InspectParams(ImageParams, frozen=True, kw_only=True):
    """Look at a guest."""


class TrialParams(ImageParams, frozen=True, kw_only=True):
    """What conversion and restocking have in common."""

    also: Annotated[
        tuple[str, ...],
        param(
            "Further disks", "images of the guest's other disks, in its own order: read, booted with, never written",
            kind="file", metavar="IMAGE",
        ),
    ] = ()  # fmt: skip
    from_disk: Annotated[
        str,
        param(
            "Disk name now", "what the guest calls its disk now; left out, its own files say it",
            pattern=r"^((hd|sd|xvd)[a-z]|nvme[0-9]{1,2}n[0-9]{1,2}|(cciss|ida|rd)/c[0-9]{1,2}d[0-9]{1,2}|mmcblk[0-9])?$",
            allowed="hda to hdz, sda to sdz, xvda to xvdz, nvme0n1, cciss/c0d0 and their like, or left out",
        ),
    ] = ""  # fmt: skip
    to_disk: Annotated[
        str, param("Disk name on virtio", "the first virtio disk is vda", pattern=r"^vd[a-z]$", allowed="vda to vdz")
    ] = "vda"
    boot_test: Annotated[
        bool,
        param(
            "Boot test", "boot the result on virtio before the image is touched; what that boot writes is thrown away"
        ),
    ] = True
    powered_off: Annotated[bool, param("Powered off", VOUCHED)] = False


class ConvertParams(TrialParams, frozen=True, kw_only=True):
    """Convert a guest, named by its image or by its domain."""

    image: Annotated[
        str,
        param(
            "Disk image", "the guest's whole disk: a raw or qcow2 file, or a block device; or leave it to the domain",
            kind="file", positional=True,
        ),
    ] = ""  # fmt: skip
    domain: Annotated[
        str,
        param(
            "Libvirt domain", "its name; its disks are found, and its new description is written beside, not defined",
            metavar="NAME",
        ),
    ] = ""  # fmt: skip

    into: Annotated[
        str,
        param(
            "New image", "gets the result, and the original stays; VMDK, VDI, VHD: left out, NAME.qcow2 beside it",
            kind="output", metavar="FILE",
        ),
    ] = ""  # fmt: skip
    kernel: Annotated[
        str, param("Kernel", "the version that boots by default; left out, the guest's own choice", metavar="VER")
    ] = ""

    @property
    @override
    def path(self) -> Path:
        """The image, or the domain's first disk. Raises BadParam, Refused."""
        if not self.image and not self.domain:
            raise BadParam("image", "", "a disk image, or left out where --domain names a libvirt domain")
        return Path(self.image or domain.disks(self.domain)[0]).resolve()

    def found(self) -> ConvertParams:
        """With the domain's disks where they were left to it. Raises Refused."""
        if self.image or not self.domain:
            return self
        first, *others = domain.disks(self.domain)
        also = self.also or tuple(map(str, others))
        return msgspec.structs.replace(self, image=str(first.resolve()), also=also)

    keep: Annotated[tuple[str, ...], param("Leave alone", "files of the plan that are not to be changed")] = ()


class RestockParams(TrialParams, frozen=True, kw_only=True):
    """Make the stock boot entry the one that boots from virtio."""

    format: Annotated[InPlace | None, param("Format", FOUND)] = None


class PutBackParams(ImageParams, frozen=True, kw_only=True):
    """Bring single files back into a guest that has run since."""

    format: Annotated[InPlace | None, param("Format", FOUND)] = None
    run: Annotated[str, param("Run", "the conversion whose files are brought back", metavar="RUN")]
    powered_off: Annotated[bool, param("Powered off", VOUCHED)] = False
