"""Mounts a guest's file system within the appliance: on the throwaway overlay, so that its journal is replayed."""

from __future__ import annotations

import re

from engines.backup.files.appliance.calls import Calls
from engines.backup.files.model import NOT_REPLAYED, BrowseError, VolumeInfo
from engines.backup.files.volumes.signatures import SPARE

REPLAYED = "journal replayed"
SAFE = "nodev,nosuid"  # a guest's device node would be one of the appliance's
# Ways to mount, the best first; the second value is what is left undone by it.
WAYS: dict[str, tuple[tuple[str, str], ...]] = {
    "ext2": (("noatime", ""), ("ro", "")),
    "ext3": (("noatime", ""), ("ro,noload", NOT_REPLAYED)),
    "ext4": (("noatime", ""), ("ro,noload", NOT_REPLAYED)),
    "xfs": (("noatime,nouuid", ""), ("ro,norecovery,nouuid", NOT_REPLAYED)),
    # All of it: beside a default subvolume lie /home and /var.
    "btrfs": (
        ("noatime,subvolid=5", ""),
        ("noatime,subvolid=5,degraded", ""),
        ("ro,subvolid=5,degraded,rescue=nologreplay", NOT_REPLAYED),
    ),
    "vfat": (("noatime,utf8", ""), ("ro,utf8", "")),
    "ntfs": (("noatime", ""), ("ro", NOT_REPLAYED)),
    "ufs": (("ro,ufstype=ufs2", ""), ("ro,ufstype=44bsd", ""), ("ro,ufstype=sun", "")),
}
OTHER = (("noatime", ""), ("ro", ""))
# What the kernel says once it has brought ext3, ext4, XFS or btrfs up to date.
COUNT = b"dmesg | grep -cE 'recovery complete|Ending recovery|start tree-log replay'"

SUBVOLUMES = b"""cd /sysroot/%s; btrfs subvolume get-default . 2>/dev/null; echo; echo
btrfs subvolume list . 2>/dev/null; cd /"""
SUBVOLUME = re.compile(rb"^ID (\d+) .*? path (?:<FS_TREE>/)?(.+)$", re.MULTILINE)


def mounted(disk: Calls, device: str, info: VolumeInfo) -> str:
    """Mount at /NAME and say what was done about the journal; see Volume.state. Raises BrowseError, Damaged."""
    point = f"/{info.name}"
    before = disk.replays
    disk.call("mkmountpoint", point)
    troubles = []
    for options, lacking in WAYS.get(info.format, OTHER):
        try:
            disk.call("mount_options", f"{SAFE},{options}", device, point)
        except BrowseError as error:
            troubles.append(str(error))
            continue
        disk.replays = int(disk.shell(COUNT + b" || true").strip() or b"0")
        if info.dirty == SPARE:
            return "; ".join(filter(None, (info.state, lacking)))
        left = info.dirty if info.format == "ntfs" else ""
        return "; ".join(filter(None, (info.cut, lacking or (REPLAYED if disk.replays > before else left))))
    disk.call("rmmountpoint", point)
    raise BrowseError(f"{info.name}: its {info.format} does not mount: {troubles[0]}")


def subvolumes(disk: Calls, info: VolumeInfo) -> tuple[bytes, dict[int, bytes]]:
    """The folder of what a btrfs mounts where nobody names a subvolume, and that of each by its id; else empty."""
    if info.format != "btrfs":
        return b"", {}
    said = disk.shell(SUBVOLUMES.replace(b"%s", info.name.encode()))
    first, _, rest = said.partition(b"\n\n")
    found = {int(number): b"/" + path.strip(b"/") for number, path in SUBVOLUME.findall(rest)}
    default = SUBVOLUME.search(first)
    return found.get(int(default[1]), b"/" + default[2]) if default else b"", found
