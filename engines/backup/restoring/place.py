"""Where a point may be restored to: what lies there now, whether it may be touched, and whether there is room."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from engines.backup.errors import Damaged, Missing
from engines.backup.new_place import refuse_repository
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.restoring import target
from engines.backup.restoring.runs import runs
from engines.backup.sources.lvm.pool import ThinPool, pool_below
from engines.guest import inuse
from engines.host.device import kernels_own
from engines.job import units
from engines.job.errors import Refused


def looked_at(path: Path, *, powered_off: bool, store: str) -> dict[str, Any]:
    """What is at the target now; empty for nothing. Raises Refused where it must not be touched."""
    refuse_repository(path, "it would lie among its own files", store)
    try:
        found = path.stat()
    except FileNotFoundError:
        if kernels_own(path):
            raise Refused(
                f"there is no device {path}, and a file made there would fill the memory of this machine",
                "look how it is called (lvs, lsblk), or name a file on a disk",
            ) from None
        if not path.parent.is_dir():
            raise Refused(f"{path.parent} does not exist", "make it first, or name another target") from None
        return {}
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name a place that you may write to") from None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise Refused(f"{path} is neither a file nor a block device", "name one that is")
    device = stat.S_ISBLK(found.st_mode)
    if not device and kernels_own(path) and not path.is_relative_to("/dev/shm"):  # noqa: S108  not made here
        raise Refused(f"{path} is a plain file where devices are, in memory", f"is it of no use, remove it: rm {path}")
    try:
        inuse.hold(path, powered_off=powered_off).release()
    except Refused as refused:
        new = f"a new volume: lvcreate -L {target.size_of(path) // 1024}k -n NAME GROUP" if device else "a new file"
        raise Refused(refused.why, f"{refused.what_helps}; or restore to {new}") from None
    seen: dict[str, Any] = {"device": found.st_rdev if device else 0, "size": target.size_of(path)}
    return seen if device else {**seen, "inode": found.st_ino, "modified": found.st_mtime_ns}


def words(path: Path, before: dict[str, Any]) -> str:
    """The target for people."""
    if not before:
        return f"{path}, new"
    return f"{path}, {'device' if before['device'] else 'file'} of {units.size(before['size'])}, its content is lost"


def fits(path: Path, point: Point) -> None:
    """Raises Refused where a device is too small."""
    size, room = point.head.size, target.size_of(path)
    if room < size:
        raise Refused(
            f"{path} has {room} bytes, {point.name} needs {size}",
            f"make a volume that fits: lvcreate -L {-(-size // 1024)}k -n NAME GROUP, and restore to that",
        )


def tail(path: Path, point: Point) -> int:
    """Bytes of a device behind the end of the point's disk."""
    return max(target.size_of(path) - point.head.size, 0)


def tail_words(path: Path, point: Point, *, wiped: bool) -> str:
    """What becomes of them."""
    behind = tail(path, point)
    said = f"{path} is {units.size(behind)} ({behind} bytes) larger than the disk of {point.name}"
    if wiped:
        return f"{said}: the rest is overwritten with zeros"
    return (
        f"{said}: the rest keeps what was on it, such as an old partition table at its end; --wipe-tail overwrites it"
        " with zeros, and GPT wants its second table moved there (sgdisk --move-second-header)"
    )


def need(repository: Repository, point: Point, chunk: int) -> int:
    """Bytes of a thin pool that the data of a point takes at most."""
    chunks, last, block = 0, -1, point.head.block
    try:
        for run in runs(repository, point):
            if run.ids:
                first, end = run.first * block // chunk, (run.first * block + run.count * block - 1) // chunk
                chunks += end - max(first, last + 1) + 1
                last = end
    except (Damaged, Missing):
        return point.head.size
    return chunks * chunk


def pool_words(pool: ThinPool, needed: int) -> str:
    """Pool, room and need, for the review."""
    return (
        f"thin pool {pool.name}: {units.size(pool.free)} may still be taken, this needs {units.size(needed)} at most,"
        f" of which the volume may have up to {units.size(pool.mapped)} already"
    )


def pooled(path: Path, repository: Repository, point: Point) -> tuple[ThinPool, int] | None:
    """The pool of a thin target and what is needed of it. Raises Refused where that cannot be had."""
    pool = pool_below(path)
    if pool is None:
        return None
    needed = need(repository, point, pool.chunk)
    if needed - pool.mapped > pool.free:
        short = needed - pool.mapped - pool.free
        raise Refused(
            f"{pool_words(pool, needed)}: the pool would be full, and the other guests on it could write no more",
            f"extend the pool by {units.size(short)} or more: lvextend --size +{-(-short >> 20)}m {pool.name}",
        )
    return pool, needed
