"""Volumes as LVM's own report describes them.

Sources: lvs(8) for lv_attr, lvmreport(7) for the fields, lvm(8) for the characters of names and tags.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from engines.backup.sources.lvm.command import look
from engines.job.errors import Refused

FIELDS = (
    "vg_name,vg_uuid,vg_free,vg_extent_size,lv_name,lv_uuid,lv_attr,lv_tags,lv_size,lv_path,origin,origin_uuid,"
    "pool_lv,pool_lv_uuid,data_percent,metadata_percent,lv_kernel_major,lv_kernel_minor,lv_health_status,"
    "metadata_lv,thin_id"
)
DM_UUID = "LVM-"


class LogicalVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `lvs`, every value as the text that LVM prints; sizes in bytes."""

    vg_name: str
    vg_uuid: str
    vg_free: str
    vg_extent_size: str
    lv_name: str
    lv_uuid: str
    lv_attr: str
    lv_tags: str
    lv_size: str
    lv_path: str
    origin: str
    origin_uuid: str
    pool_lv: str
    pool_lv_uuid: str
    data_percent: str
    metadata_percent: str
    lv_kernel_major: str
    lv_kernel_minor: str
    lv_health_status: str
    metadata_lv: str
    thin_id: str

    def __str__(self) -> str:
        return f"{self.vg_name}/{self.lv_name.strip('[]')}"

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.lv_size)

    @property
    def free(self) -> int:
        """Bytes that are free in its volume group."""
        return int(self.vg_free)

    @property
    def extent(self) -> int:
        """Bytes of an extent of its volume group."""
        return int(self.vg_extent_size)

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number; (-1, -1) where it is not active."""
        return int(self.lv_kernel_major), int(self.lv_kernel_minor)

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        return tuple(filter(None, self.lv_tags.split(",")))

    @property
    def thin(self) -> bool:
        """Whether it is a volume of a thin pool."""
        return self.lv_attr[0] == "V" and self.lv_attr[6] == "t"

    @property
    def snapshot(self) -> bool:
        """Whether it is a snapshot, thick or thin."""
        return bool(self.origin)

    @property
    def id(self) -> str:
        """What device-mapper calls it."""
        return DM_UUID + (self.vg_uuid + self.lv_uuid).replace("-", "")


class _Report(msgspec.Struct):
    lv: list[LogicalVolume] = []


class _Reports(msgspec.Struct):
    report: list[_Report] = []


def volumes() -> list[LogicalVolume]:
    """Every volume of every group, hidden ones too. Raises Refused."""
    said = look(["lvs", "--all", "--reportformat", "json", "--units", "b", "--nosuffix", "--options", FIELDS])
    try:
        return [volume for part in msgspec.json.decode(said, type=_Reports).report for volume in part.lv]
    except msgspec.DecodeError as error:
        raise Refused(f"lvs prints no report that is understood: {error}", "install lvm2 2.02.158 or later") from None


def mapped(path: Path) -> str:
    """The device-mapper uuid behind `path`; empty for anything else."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if not stat.S_ISBLK(found.st_mode):
        return ""
    uuid = Path(f"/sys/dev/block/{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}/dm/uuid")
    return uuid.read_text().strip() if uuid.is_file() else ""


def is_volume(path: Path) -> bool:
    """Whether `path` leads to an active LVM volume of any kind."""
    return mapped(path).startswith(DM_UUID)


def find(path: Path, known: list[LogicalVolume]) -> LogicalVolume:
    """The one of the volumes `known` that `path` leads to, fit to be snapshotted. Raises Refused."""
    uuid = mapped(path)
    for volume in known:
        if uuid == volume.id or (not uuid and volume.lv_path == str(path)):
            _fit(volume)
            return volume
    if uuid.startswith(DM_UUID):
        raise Refused(f"{path} is a part of an LVM volume, not one itself", "name the volume, such as /dev/VG/LV: lvs")
    raise Refused(f"{path} is no LVM volume", "name one of those that `lvs` lists")


def _fit(volume: LogicalVolume) -> None:
    kind = volume.lv_attr[0]
    if volume.device == (-1, -1):
        raise Refused(f"{volume} is not active", f"activate it: lvchange --activate y {volume}")
    if kind in "OS":
        raise Refused(f"a snapshot is being merged into {volume}", "wait until `lvs` shows it merged")
    if kind in "tTdDeip" or volume.lv_name.startswith("["):
        raise Refused(f"{volume} is not a VM's disk but a part of LVM's own", "name the volume that the VM uses: lvs")
    if kind == "s":
        raise Refused(
            f"{volume} is a snapshot itself, and LVM makes none of a snapshot",
            f"name its origin {volume.vg_name}/{volume.origin}",
        )


def pool_of(volume: LogicalVolume, known: list[LogicalVolume]) -> LogicalVolume:
    """The thin pool of a thin volume. Raises Refused."""
    for pool in known:
        if pool.lv_uuid == volume.pool_lv_uuid:
            return pool
    raise Refused(f"the pool of {volume} is not in LVM's report", "see: lvs -a")
