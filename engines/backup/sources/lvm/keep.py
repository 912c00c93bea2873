"""Thin snapshots that stay after their backup, so that the next one learns from them what changed since."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.backup.names import PointName
from engines.backup.sources.lvm import kernel
from engines.backup.sources.lvm.command import change
from engines.backup.sources.lvm.delta import PoolDevices
from engines.backup.sources.lvm.report import LogicalVolume
from engines.backup.sources.lvm.snapshot import NAME, Snapshot, SnapshotRoom, remove_named
from engines.backup.sources.lvm.tag import MARK, Owner
from engines.backup.sources.options import NoHint, PointRef
from engines.job.errors import CrashcartError, Refused

TAG = re.compile(
    rf"^{re.escape(MARK)}/keep/repo=(?P<repo>[0-9a-f]{{32}})/session=(?P<session>[0-9a-f]{{32}})"
    r"/point=(?P<vm>[A-Za-z0-9._-]+)/(?P<disk>[A-Za-z0-9._-]+)/(?P<time>[0-9]{8}T[0-9]{6}Z)$"
)


@dataclass(frozen=True)
class Kept:
    """A snapshot that is what a point was made of."""

    volume: LogicalVolume
    repo: str
    session: str
    point: PointName

    @property
    def words(self) -> str:
        """One line for people."""
        return f"{self.volume} of {self.volume.vg_name}/{self.volume.origin}, kept since {self.point}"


def tag(made: PointRef) -> str:
    """What says of which point a snapshot is; of characters that LVM allows."""
    return f"{MARK}/keep/repo={made.repo}/session={made.session}/point={made.point.replace('@', '/')}"


def kept(known: list[LogicalVolume]) -> list[Kept]:
    """Every snapshot that was kept, of whatever repository."""
    found = []
    for volume in known:
        ours = [match for each in volume.tags if (match := TAG.match(each))]
        if len(ours) == 1 and volume.lv_name.startswith(NAME) and volume.thin:
            one = ours[0]
            point = PointName(one["vm"], one["disk"], one["time"])
            found.append(Kept(volume, one["repo"], one["session"], point))
    return found


def of(since: PointRef, room: SnapshotRoom, known: list[LogicalVolume]) -> Kept:
    """The snapshot that the point `since` was made of, in the same pool. Raises NoHint."""
    for one in kept(known):
        if (one.repo, one.session, str(one.point)) == (since.repo, since.session, since.point):
            if room.pool is None or one.volume.pool_lv_uuid != room.pool.lv_uuid:
                raise NoHint(f"{one.volume} lies in another pool")
            return one
    raise NoHint(f"no snapshot was kept of {since.point}")


def pool(snapshot: Snapshot, known: list[LogicalVolume]) -> PoolDevices:
    """Where thin_delta looks. Raises NoHint."""
    found = snapshot.of.pool
    if found is None or snapshot.pool is None:
        raise NoHint("it is no thin volume")
    for volume in known:
        if volume.vg_uuid == found.vg_uuid and volume.lv_name == found.metadata_lv:
            return PoolDevices(found.id, snapshot.pool, volume.device)
    raise NoHint(f"the metadata of pool {found} is not in LVM's report")


def thin_id(snapshot: Snapshot) -> int:
    """The number of a snapshot in its pool, by the kernel's word. Raises NoHint."""
    found = kernel.thin_id(kernel.table(snapshot.device))
    if found is None:
        raise NoHint(f"{snapshot} is no thin device")
    return found


def keep(snapshot: Snapshot, owner: Owner, made: PointRef) -> str:
    """Have it stay, in one change of its tags; empty, or why it does not."""
    try:
        change(["lvchange", "--addtag", tag(made), "--deltag", owner.tag(), str(snapshot)])
    except (CrashcartError, Refused) as error:
        return f"{snapshot} is not kept, so the next backup reads all: {error}"
    return ""


def outdated(made: PointRef, known: list[LogicalVolume]) -> list[Kept]:
    """Those of the same disk and repository that the point `made` makes useless."""
    return [one for one in kept(known) if one.repo == made.repo and str(one.point).startswith(_disk(made.point))]


def _disk(point: str) -> str:
    return point.partition("@")[0] + "@"


def remove(one: Kept) -> str:
    """Remove it; empty, or what is left behind and the command that removes it."""
    return remove_named(one.volume.vg_name, one.volume.lv_name)
