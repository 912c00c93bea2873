"""Scenes with snapshots: each returns what was seen, for a test on the host to judge."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from engines.backup.sources.lvm import report, snapshot, tag, together
from engines.backup.sources.lvm.kernel import pool_fill, status
from engines.backup.sources.lvm.source import SnapshotSource, opened
from engines.backup.sources.lvm.watch import Watch
from engines.backup.sources.options import SourceOptions
from engines.job.errors import CrashcartError, Failed
from tests.engines.backup.sources.lvm.inside import scenes
from tests.engines.backup.sources.lvm.inside.scenes import MIB


def still(kind: str) -> dict[str, Any]:
    """A volume is written to while its snapshot is read."""
    path = {"thick": scenes.A, "thin": scenes.ONE}[kind]
    before = scenes.write(path, 8)
    with opened([path], SourceOptions(run="20261122-night")) as (source,):
        scenes.write(path, 8, seed=2)
        content = scenes.read(source, 9 * MIB)
        source.check()
        tags = scenes.run("lvs", "--noheadings", "--options", "lv_tags", str(source.snapshot)).strip()
        seen = {
            "same": content[: 8 * MIB] == before,
            "size": source.size,
            "words": source.words,
            "consistency": source.consistency,
            "tags": tags,
            "writable": _writable(source.snapshot.path),
            "during": scenes.names(),
        }
    seen["after"] = scenes.names()
    seen["suspended"] = status((os.major(path.stat().st_rdev), os.minor(path.stat().st_rdev))).suspended
    return seen


def _writable(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("r+b", buffering=0) as stream:
        stream.write(b"x")
        return True
    return False


def overflow() -> dict[str, Any]:
    """A guest rewrites its disk faster than the snapshot's room allows."""
    seen: dict[str, Any] = {"before": scenes.names()}
    with contextlib.suppress(StopIteration):
        try:
            with opened([scenes.A], SourceOptions(size=16 * MIB)) as (source,):
                for at in range(48):
                    scenes.write(scenes.A, 1, at=at, seed=3)
                    seen["written"] = at + 1
                    seen["invalid"] = "nvalid" in status(source.snapshot.device).targets[0].status
                    source.check()
        except Failed as failed:
            seen |= {"why": failed.why, "helps": failed.what_helps, "left": failed.left_behind}
    seen["after"] = scenes.names()
    return seen


def overflowed() -> dict[str, Any]:
    """The snapshot overflows before anybody looks: a read says why, and so does the last check."""
    seen: dict[str, Any] = {"before": scenes.names()}
    room = together.rooms([scenes.A], report.volumes(), 8 * MIB)[0]
    made = snapshot.make(room, tag.mine("night"))
    watch = Watch((made,))  # not entered: its thread would look in time
    taken = together.TakenSnapshots((made,), together.CRASH, (), ())
    try:
        scenes.write(scenes.A, 24, seed=4)
        descriptor = os.open(made.path, os.O_RDONLY)
        source = SnapshotSource(descriptor, made, taken, watch, [])
        for name, look in (("read", lambda: scenes.read(source)), ("check", source.check)):
            try:
                look()
            except Failed as failed:
                seen[name] = failed.why
        os.close(descriptor)
    finally:
        seen["left"] = snapshot.remove(made)
    seen["after"] = scenes.names()
    return seen


def pool() -> dict[str, Any]:
    """A pool fills while a snapshot in it is read; then it is too full to begin."""
    one, two = scenes.SMALL
    scenes.write(one, 30)
    seen: dict[str, Any] = {"before": scenes.names()}
    try:
        with opened([one], SourceOptions()) as (source,):
            for at in range(34):
                scenes.write(two, 1, at=at)
                source.check()
    except Failed as failed:
        seen |= {"why": failed.why, "helps": failed.what_helps, "written": at}
    seen["after"] = scenes.names()
    scenes.write(two, 31)
    seen["refused"] = _attempt(one)
    return seen


def _attempt(path: Path, size: int = 0) -> str:
    try:
        with opened([path], SourceOptions(size=size)):
            return "made"
    except CrashcartError as error:
        return str(error)


def metadata() -> dict[str, Any]:
    """The metadata of a pool fills up while its data does not; then it is too full to begin."""
    (pool,) = [volume for volume in report.volumes() if str(volume) == "tg/tight"]
    device = snapshot._pool_device(pool)
    seen: dict[str, Any] = {"before": scenes.names(), "empty": _attempt(scenes.TIGHT)}
    number = 100  # LVM numbers its own from 1
    while pool_fill(status(device))[1].percent <= 91:
        for _ in range(10):
            scenes.tell(device, f"create_thin {number}")  # an empty thin device is one block of metadata
            number += 1
    data, used = pool_fill(status(device))
    seen |= {"data": data.percent, "used": used.percent, "refused": _attempt(scenes.TIGHT), "after": scenes.names()}
    return seen


def refusals() -> dict[str, str]:
    """What cannot be snapshotted, and the words for it."""
    seen = {
        "hostile": _attempt(scenes.HOSTILE),
        "other": _attempt(Path("/dev/vda")),
        "part": _attempt(Path("/dev/mapper/tg-pool_tdata")),
        "full": _attempt(scenes.FULL),
    }
    scenes.run("lvm", said="lvcreate --yes --snapshot --size 8m --name mine vg/b\nlvchange --activate n vg/+b.-c_d\n")
    seen["snapshot"] = _attempt(Path("/dev/vg/mine"))
    seen["inactive"] = _attempt(scenes.HOSTILE)
    scenes.run("lvm", said="lvremove --yes vg/mine\nlvchange --activate y vg/+b.-c_d\n")
    return seen
