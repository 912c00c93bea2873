"""What a put is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from engines.backup.files.opening import WhichDriver
from engines.backup.put.placing import Conflict
from engines.backup.repository.repository import RepoParams
from engines.job.params import param


class PutParams(RepoParams, frozen=True, kw_only=True):
    """Which files go where."""

    paths: Annotated[
        tuple[str, ...],
        param(
            "Files",
            "what to put back: VM/DISK@TIME:/path, more of them or just /path",
            metavar="PATH",
            positional=True,
        ),
    ]
    into: Annotated[
        str,
        param("Image", "the stopped guest's whole disk: raw, qcow2 or a block device", kind="file", metavar="IMAGE"),
    ]
    at: Annotated[
        str, param("Folder", "put them below this folder of the guest; left out, each goes to its own place")
    ] = ""
    volume: Annotated[
        str, param("Volume", "the guest's volume, such as p1; left out, the one with the same file system id")
    ] = ""
    conflict: Annotated[Conflict, param("Conflict", "what becomes of a file that is in the guest already")] = "refuse"
    special: Annotated[bool, param("Special files", "put device nodes and pipes too")] = False
    setuid: Annotated[bool, param("Setuid", "keep setuid and setgid bits and capabilities")] = False
    boot_test: Annotated[
        bool, param("Boot test", "boot the result before the image is touched; what that boot writes is thrown away")
    ] = False
    driver: WhichDriver = "auto"
    format: Annotated[
        Literal["raw", "qcow2"] | None,
        param("Format", "left out, a libvirt domain or the name .qcow2 says it, and all else is raw"),
    ] = None
    backing: Annotated[
        tuple[str, ...],
        param(
            "Backing files",
            "a file below a qcow2 image that lies in another folder, named to say that it is meant",
            kind="file",
            metavar="FILE",
        ),
    ] = ()
    powered_off: Annotated[
        bool,
        param("Powered off", "you vouch that the guest is off, where no lock can tell (shared storage)"),
    ] = False

    @property
    def image(self) -> Path:
        """The image, symbolic links followed."""
        return Path(self.into).resolve()
