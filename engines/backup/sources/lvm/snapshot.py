"""One snapshot: enough room for it, made read-only with its owner's tag, removed whatever happened."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from engines.backup.sources.lvm.command import change
from engines.backup.sources.lvm.kernel import Fill, pool_fill, snapshot_fill, status
from engines.backup.sources.lvm.report import DM_UUID, LogicalVolume, mapped, pool_of
from engines.backup.sources.lvm.tag import Owner
from engines.job.errors import Failed, Refused

NAME = "crashcart_"
SHARE = 0.2  # of the volume; what a busy mail server rewrites in a night's backup, with a margin
LEAST = 1 << 30  # bytes, or the whole volume where that is smaller
THINNEST = 0.01  # of the volume; with less than that free a snapshot would not outlive the backup
MOST_BEFORE = 90.0  # percent of a thin pool's data or metadata
BUSY = 20.0  # s; udev and blkid open new devices for a moment
MIB = 1 << 20


@dataclass(frozen=True)
class SnapshotRoom:
    """What a snapshot of `volume` would take: bytes for a thick one, 0 for a thin one, whose `pool` gives it."""

    volume: LogicalVolume
    size: int
    pool: LogicalVolume | None

    @property
    def words(self) -> str:
        """For the review."""
        if self.pool:
            return f"thin snapshot in pool {self.pool}"
        return f"snapshot of {self.size // MIB} MiB in {self.volume.vg_name}"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that exists: `of` is its origin, `device` its major and minor, `pool` a thin one's pool device."""

    vg: str
    name: str
    id: str
    path: Path
    device: tuple[int, int]
    of: SnapshotRoom
    pool: tuple[int, int] | None

    def __str__(self) -> str:
        return f"{self.vg}/{self.name}"


def room(volume: LogicalVolume, known: list[LogicalVolume], wanted: int = 0) -> SnapshotRoom:
    """Whether and how a snapshot can be made; `wanted` bytes, or 0 for a share of the volume. Raises Refused."""
    if volume.thin:
        pool = pool_of(volume, known)
        _not_full(pool)
        return SnapshotRoom(volume, 0, pool)
    whole = volume.size + volume.size // 128 + 4 * volume.extent  # more than all its chunks and their table takes
    size = wanted or max(int(volume.size * SHARE), LEAST)
    size = min(size, whole)
    least = max(int(volume.size * THINNEST), volume.extent)
    if volume.free < (size if wanted else least):
        raise Refused(
            f"{volume.vg_name} has {volume.free // MIB} MiB free, too little for a snapshot of {volume}"
            f" ({(size if wanted else least) // MIB} MiB at least)",
            f"add a disk (vgextend {volume.vg_name} /dev/…) or remove what is not needed: lvs {volume.vg_name}",
        )
    return SnapshotRoom(volume, min(size, volume.free), None)


def _not_full(pool: LogicalVolume) -> None:
    if pool.device == (-1, -1):
        raise Refused(f"thin pool {pool} is not active", f"activate it: lvchange --activate y {pool}")
    if not pool.data_percent or not pool.metadata_percent:
        raise Refused(f"thin pool {pool} does not say how full it is", f"look at it: lvs -a {pool.vg_name}")
    for what, percent, cure in (
        ("data", float(pool.data_percent), "lvextend --size +…G"),
        ("metadata", float(pool.metadata_percent), "lvextend --poolmetadatasize +…M"),
    ):
        if percent > MOST_BEFORE:
            raise Refused(
                f"the {what} of thin pool {pool} is {percent:.1f} % full, allowed is {MOST_BEFORE:.0f} %:"
                " a full pool stalls every guest on it",
                f"extend it first: {cure} {pool}",
            )
    if pool.lv_health_status:
        raise Refused(f"thin pool {pool} is not well: {pool.lv_health_status}", f"see: lvs -a {pool.vg_name}; dmesg")


def make(of: SnapshotRoom, owner: Owner) -> Snapshot:
    """Make and find it. Raises Failed; then none is left."""
    volume = of.volume
    name = NAME + os.urandom(6).hex()
    argv = ["lvcreate", "--yes", "--snapshot", "--permission", "r", "--name", name, "--addtag", owner.tag()]
    argv += ["--setactivationskip", "n"] if of.pool else ["--size", f"{of.size}b"]
    try:
        change([*argv, f"{volume.vg_name}/{volume.lv_name}"])
        return _found(of, name)
    except (Failed, Refused) as error:
        left = remove_named(volume.vg_name, name)
        raise Failed(f"no snapshot of {volume}: {error.why}", error.what_helps, tuple(filter(None, (left,)))) from None


def _found(of: SnapshotRoom, name: str) -> Snapshot:
    """What was made, by the kernel's word: another look by LVM would cost another scan of every disk."""
    path = Path("/dev") / of.volume.vg_name / name
    uuid = mapped(path)
    if not uuid.startswith(DM_UUID + of.volume.vg_uuid.replace("-", "")):
        raise Failed(f"{path} is not there", f"see: lvs {of.volume.vg_name}; dmsetup info -c")
    number = path.stat().st_rdev
    pool = _pool_device(of.pool) if of.pool else None
    return Snapshot(of.volume.vg_name, name, uuid, path, (os.major(number), os.minor(number)), of, pool)


def _pool_device(pool: LogicalVolume) -> tuple[int, int]:
    """The device of the pool itself (VG-POOL-tpool): what LVM reports may be a linear cover over it."""
    wanted = pool.id + "-tpool"
    for folder in Path("/sys/block").glob("dm-*"):
        if (folder / "dm" / "uuid").read_text().strip() == wanted:
            major, _, minor = (folder / "dev").read_text().strip().partition(":")
            return int(major), int(minor)
    raise Failed(f"the device of pool {pool} is not there", f"see: lvs -a {pool.vg_name}")


def fills(snapshot: Snapshot) -> tuple[tuple[str, Fill], ...]:
    """How full it is, by name. Raises OSError where it is gone."""
    if snapshot.pool is None:
        return ((f"snapshot {snapshot} of {snapshot.of.volume}", snapshot_fill(status(snapshot.device))),)
    data, metadata = pool_fill(status(snapshot.pool))
    return (f"the data of thin pool {snapshot.of.pool}", data), (
        f"the metadata of thin pool {snapshot.of.pool}",
        metadata,
    )


def remove(snapshot: Snapshot) -> str:
    """Remove it; empty, or what is left behind and the command that removes it. Never raises."""
    return remove_named(snapshot.vg, snapshot.name)


def remove_named(vg: str, name: str) -> str:
    """Remove a snapshot of ours by its name; see remove."""
    end = time.monotonic() + BUSY
    while True:
        try:
            change(["lvremove", "--yes", "--force", f"{vg}/{name}"])
            return ""
        except (Failed, Refused) as error:
            if "Failed to find" in error.why:
                return ""
            if time.monotonic() > end:
                return f"snapshot {vg}/{name} ({error.why}); remove it: lvremove {vg}/{name}"
            time.sleep(0.5)
