"""What is done to one guest, decided and not yet done; a plan and its execution share it, and its appliance."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engines.guest import system
from engines.guest.surgery import Surgery
from engines.job.contract import Cancel
from engines.job.errors import Refused
from engines.virtio import inventory
from engines.virtio.edits import FileEdit
from engines.virtio.inventory import GuestInventory
from engines.virtio.params import ImageParams, TrialParams

MIB = 1 << 20


@dataclass(frozen=True)
class Rebuild:
    """One initrd to make in /boot: its name, the command, the modules it must hold."""

    version: str
    image: str
    stock: str
    command: str
    wanted: list[str]


class SavedFile(msgspec.Struct, frozen=True):
    """One edited file as kept for a way back file by file; `after` is the digest of what the run wrote, or empty."""

    path: str
    before: bytes
    after: str


class SavedFiles(msgspec.Struct, frozen=True):
    """files.json of a run: originals, and the new files that the run made."""

    files: list[SavedFile]
    made: list[str]


@dataclass
class Operation:
    """An open surgery and what it will do, in order: edits, commands, initrds, removals.

    old_disk: its name before. foreign: names of disks that are not given.
    """

    surgery: Surgery
    inventory: GuestInventory
    edits: list[FileEdit] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    rebuilds: list[Rebuild] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    old_disk: str = "sda"
    foreign: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether its appliance still runs."""
        return self.surgery.appliance.alive

    def close(self) -> None:
        """End it."""
        self.surgery.close()

    @property
    def menu(self) -> str:
        """The boot menu's text as it will be."""
        path = self.inventory.loader.path
        edited = next((edit.after for edit in self.edits if edit.path == path), None)
        return edited.decode("latin-1") if edited is not None else self.inventory.loader.text

    def after(self, path: str) -> bytes:
        """A file's content as it will be."""
        real = self.inventory.system.real(path)
        edited = next((edit.after for edit in self.edits if edit.path == real), None)
        return edited if edited is not None else self.inventory.system.read(path) or b""

    def saved(self) -> SavedFiles:
        """What files.json keeps."""
        files = [
            SavedFile(each.path, each.before, _digest(each.after or b"") if each.after else "")
            for each in self.edits
            if each.before is not None
        ]
        made = [f"/boot/{each.image}" for each in self.rebuilds if each.image != each.stock]
        return SavedFiles(files, [*made, *(each.path for each in self.edits if each.before is None)])

    def state(self) -> dict[str, Any]:
        """The before-states that the steps depend on, for the plan's digest."""
        system = self.inventory.system
        return {
            "disk": self.surgery.target.disk,
            "first sector": self.inventory.sector,
            "root": system.root,
            "tool": self.inventory.tool.path,
            "files": {each.path: _digest(each.before or b"") for each in self.edits},
            "initrds": {each.stock: self.inventory.size(f"/boot/{each.stock}") for each in self.rebuilds},
        }

    def refuse_full_boot(self) -> None:
        """Refuse where /boot lacks room: a new initrd is built beside the old one, and may be twice its size."""
        needed = sum(2 * self.inventory.size(f"/boot/{each.stock}") + MIB for each in self.rebuilds)
        needed -= sum(self.inventory.size(f"/boot/{each.image}") for each in self.rebuilds)
        if needed > self.inventory.room:
            raise Refused(
                f"/boot has {self.inventory.room // 1024} KiB free, {needed // 1024} KiB are needed for new initrds",
                "remove an old kernel in the guest first",
            )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def begin(params: ImageParams, cancel: Cancel, *, foreign: bool = False) -> tuple[Surgery, GuestInventory]:
    """Hold the image, launch, read the guest. Ends everything again where the guest is refused.

    foreign: the image may be another hypervisor's.
    """
    vouched = bool(getattr(params, "powered_off", False))
    also = [Path(each).resolve() for each in getattr(params, "also", ())]
    surgery = Surgery.begin(
        params.path, cancel, wanted=params.format or "", backing=params.backing, powered_off=vouched, also=also,
        foreign=foreign,
    )  # fmt: skip
    with closing_on_error(surgery):
        found = system.find(surgery.appliance, surgery.scratch.path)
        if also:
            _refuse_spread(found)
        return surgery, inventory.examine(found)


def _refuse_spread(found: system.System) -> None:
    """Only the first disk is written."""
    spread = [where for where, device in found.mounts if re.match(r"/dev/sd[b-z]", device) and where in ("/", "/boot")]
    members = [device for device in found.call("pvs") if not device.startswith("/dev/sda")]
    if found.root in found.volumes and members:
        spread.append(f"the volume group ({', '.join(members)})")
    if found.root.startswith("/dev/md"):
        spread.append("the array")
    if spread:
        raise Refused(
            f"{spread[0]} is, or may be, on a further disk, which a conversion does not write",
            "name the disk with root and /boot first, or convert this guest from inside",
        )


@contextmanager
def closing_on_error(surgery: Surgery) -> Iterator[None]:
    """Close the surgery where the block fails."""
    try:
        yield
    except BaseException:
        surgery.close()
        raise


def refuse_boot_test(params: TrialParams) -> None:
    """A boot test shows the disk alone, as vda."""
    if params.boot_test and params.to_disk != "vda":
        raise Refused(
            f"a boot test shows the disk as vda, not as {params.to_disk}",
            f"switch the boot test off, or convert to vda ({Path(params.image).name})",
        )
