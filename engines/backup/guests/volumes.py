"""Guests from LVM: volumes whose names say which guest and which disk, for hosts without libvirt."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator

from engines.backup.guests.model import Guest, GuestDisk
from engines.backup.sources.lvm import tag
from engines.backup.sources.lvm.report import LogicalVolume, volumes

SPACE = uuid.UUID("6d1c4d5e-3a5b-5b43-9a54-2f0d5b7a9c11")  # of guests known by name alone
SAYS = "cc_"  # a tag cc_gold: by the policy gold
NOT_A_DISK = "tTdDeipsSOolrI"  # first letter of lv_attr: pools, their parts, snapshots, mirrors' images


def by_volumes(pattern: str, taken: Iterable[str] = (), known: list[LogicalVolume] | None = None) -> list[Guest]:
    """Guests of the volumes whose names the pattern fits, with the groups vm and disk. Raises Refused.

    taken: paths that are disks of guests known otherwise, whichever of a volume's paths they are.
    """
    disks: dict[str, list[LogicalVolume]] = {}
    paths = {path for one in taken for path in (one, os.path.realpath(one))}
    for volume in _disks(volumes() if known is None else known, paths):
        found = re.search(pattern, volume.lv_name)
        if found and found["vm"] and found["disk"]:
            disks.setdefault(found["vm"], []).append(volume)
    return [_guest(name, sorted(of, key=str), pattern) for name, of in sorted(disks.items())]


def identity(name: str) -> str:
    """The UUID of a guest that is known by its name alone: the same on every host."""
    return str(uuid.uuid5(SPACE, name))


def _disks(known: list[LogicalVolume], taken: set[str]) -> Iterator[LogicalVolume]:
    for volume in known:
        ours = any(tag.parse(each) for each in volume.tags)
        part = volume.lv_attr[0] in NOT_A_DISK or volume.lv_name.startswith("[") or volume.origin
        if not ours and not part and not taken & {volume.lv_path, _mapper(volume), os.path.realpath(volume.lv_path)}:
            yield volume


def _mapper(volume: LogicalVolume) -> str:
    """Its other path."""
    group, name = (each.replace("-", "--") for each in (volume.vg_name, volume.lv_name))
    return f"/dev/mapper/{group}-{name}"


def _guest(name: str, of: list[LogicalVolume], pattern: str) -> Guest:
    tags = tuple(dict.fromkeys(each for volume in of for each in volume.tags))
    return Guest(
        uuid=identity(name),
        name=name,
        running=any(volume.lv_attr[5:6] == "o" for volume in of),
        found="lvm",
        disks=tuple(_disk(volume, pattern) for volume in of),
        policy=next((each.removeprefix(SAYS) for each in tags if each.startswith(SAYS)), ""),
        tags=tags,
    )


def _disk(volume: LogicalVolume, pattern: str) -> GuestDisk:
    found = re.search(pattern, volume.lv_name)
    inactive = volume.device == (-1, -1)
    return GuestDisk(
        name=found["disk"] if found else volume.lv_name,
        source=volume.lv_path,
        kind="block",
        format="raw",
        why=f"its volume is not active: lvchange --activate y {volume}" if inactive else "",
    )
