"""Scenes with thin_delta: what is kept for the next backup, what is read then, and what goes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.backup.sources.lvm import delta, keep, kernel, report, snapshot
from engines.backup.sources.lvm.delta import PoolDevices
from engines.backup.sources.options import NoHint
from engines.job.lock import folder
from tests.engines.backup import lab
from tests.engines.backup.sources.lvm.inside import scenes
from tests.engines.backup.sources.lvm.inside.backups import REPO, _backup, _repository, _restored, _sum
from tests.engines.backup.sources.lvm.inside.scenes import MIB

TARGET = Path("/run/tmp/restored")


def _hinted(**params: Any) -> dict[str, Any]:
    return _backup(scenes.ONE, disk="hinted", hints="thin", **params)


def _kept() -> list[str]:
    return [str(one.volume) for one in keep.kept(report.volumes())]


def _pool() -> PoolDevices:
    known = report.volumes()
    (pool,) = [volume for volume in known if str(volume) == "tg/pool"]
    (metadata,) = [volume for volume in known if (volume.vg_name, volume.lv_name) == ("tg", pool.metadata_lv)]
    return PoolDevices(pool.id, snapshot._pool_device(pool), metadata.device)


def life() -> dict[str, Any]:
    """All that can become of a hint: none yet, one that serves, one that lies, a pool that others look into."""
    _repository()
    before = scenes.names()
    scenes.write(scenes.ONE, 48, seed=21)
    seen: dict[str, Any] = {"first": _hinted(), "kept": [_kept()]}
    for at in (3, 20, 33):
        scenes.write(scenes.ONE, 1, at=at, seed=22)
    scenes.run("blkdiscard", "--offset", str(40 * MIB), "--length", str(2 * MIB), str(scenes.ONE))
    wanted = _sum(scenes.ONE)
    seen["changed"] = _hinted()
    seen["kept"].append(_kept())
    seen["same"] = _restored(seen["changed"], TARGET) == wanted
    seen["held"] = [_held()]
    _left_by_a_dead_run()
    seen["unchanged"] = _hinted()
    seen["kept"].append(_kept())
    seen["held"].append(_held())
    seen["new"] = sorted(set(scenes.names()) - set(before))
    _lie()
    wanted = _sum(scenes.ONE)
    seen["lied"] = _hinted()
    seen["same_though_lied"] = _restored(seen["lied"], TARGET) == wanted
    scenes.tell(_pool().device, "reserve_metadata_snap")
    seen["foreign"] = _asked_about_strangers()
    seen["held"].append(_held())
    scenes.tell(_pool().device, "release_metadata_snap")
    seen["unknown"] = _asked_about_strangers()
    seen["held"].append(_held())
    seen["kept"].append(_kept())
    seen["without"] = _backup(scenes.ONE, disk="hinted")
    seen["kept"].append(_kept())
    return seen


def _held() -> bool:
    return kernel.metadata_held(kernel.status(_pool().device))


def _left_by_a_dead_run() -> None:
    """A run was killed while it held the metadata snapshot: the kernel holds it still, and the lock file says whose."""
    pool = _pool()
    scenes.tell(pool.device, "reserve_metadata_snap")
    (folder() / f"{pool.id}.metadata").write_bytes(b"reserved")


def _lie() -> None:
    """The kept snapshot is exchanged for one of now: thin_delta says that nothing changed since the point."""
    (one,) = keep.kept(report.volumes())
    scenes.write(scenes.ONE, 48, seed=32)
    (tag,) = one.volume.tags
    said = (
        f"lvremove --yes {one.volume}\n"
        f"lvcreate --yes --snapshot --setactivationskip n --permission r --name {one.volume.lv_name}"
        f" --addtag {tag} tg/one\n"
    )
    scenes.run("lvm", said=said)


def _asked_about_strangers() -> str:
    """thin_delta is asked about devices that the pool has not."""
    try:
        list(delta.changed(_pool(), 998, 999))
    except NoHint as no:
        return str(no)
    return ""


def swept() -> dict[str, Any]:
    """The sweep spares a kept snapshot while its point is the newest, and takes it when that is gone."""
    _repository()
    _hinted()
    (one,) = keep.kept(report.volumes())
    _, unnamed = lab.perform_job("backup-snapshots")
    _, named = lab.perform_job("backup-snapshots", repo=REPO)
    spared = _kept()
    lab.done("backup-prune", repo=REPO, drop=(str(one.point),))
    return {
        "kept": [str(one.volume)],
        "words": [str(unnamed), str(named)],
        "spared": spared,
        "removed": lab.done("backup-snapshots", repo=REPO)["removed"],
    }


def several() -> dict[str, Any]:
    """Two volumes in one run of the engine."""
    _repository()
    before = scenes.names()
    made = _backup(scenes.ONE, more=(str(scenes.TWO),), disk=("root", "data"))
    return {"made": made, "left": sorted(set(scenes.names()) - set(before))}
