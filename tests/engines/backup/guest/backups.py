"""Scenes with the whole engine: volumes backed up, changed, restored, and a backup that is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from engines.backup.lvm import sweep
from engines.job import journal
from engines.job.contract import AnyEvent, Finished, Log, RunFailed, Warned
from tests.engines.backup import lab
from tests.engines.backup.guest import scenes

REPO = "/run/repo"


def _sum(path: Path) -> str:
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _backup(source: Path, **params: Any) -> dict[str, Any]:
    run, last = lab.perform_job("backup", source=str(source), repo=REPO, vm="web", **{"limit": "none", **params})
    events = [entry.event for entry in journal.entries(run.journal)]
    return {
        "result": last.result if isinstance(last, Finished) else {},
        "failed": last.why if isinstance(last, RunFailed) else "",
        "left": last.left_behind if isinstance(last, RunFailed) else (),
        "said": [event.text for event in events if isinstance(event, Log | Warned)],
    }


def _repository() -> None:
    if not Path(REPO).exists():
        lab.init(Path(REPO))


def there_and_back(kind: str) -> dict[str, Any]:
    """Snapshot, backup, change, incremental, and each point restored to a file and the first to a volume."""
    _repository()
    path = {"thick": scenes.A, "thin": scenes.ONE}[kind]
    before = scenes.names()
    scenes.write(path, 16, seed=11)
    first_sum = _sum(path)
    first = _backup(path, disk=kind)
    scenes.write(path, 3, at=5, seed=12)
    second_sum = _sum(path)
    second = _backup(path, disk=kind, limit="40M")
    targets = [Path(f"/run/tmp/{kind}1"), Path(f"/run/tmp/{kind}2")]
    for target, made in zip(targets, (first, second), strict=True):
        lab.done("backup-restore", point=made["result"]["point"], target=str(target), repo=REPO)
    lab.done("backup-restore", point=first["result"]["point"], target=str(path), repo=REPO, delta=True)
    seen = {
        "first": first,
        "second": second,
        "same": [_sum(target) for target in targets] == [first_sum, second_sum],
        "volume": _sum(path) == first_sum,
        "left": sorted(set(scenes.names()) - set(before)),
    }
    for target in targets:
        target.unlink()
    return seen


def fails_full() -> dict[str, Any]:
    """A backup whose snapshot is too small for what is written meanwhile makes no point."""
    _repository()
    before = scenes.names()
    points = len(list(Path(REPO, "points").rglob("*.point")))
    writer = os.fork()
    if writer == 0:
        for at in range(600):
            scenes.write(scenes.B, 1, at=at % 64, seed=at)
        os._exit(0)
    try:
        seen = _backup(scenes.B, disk="busy", limit="4M", snapshot_size="16M")
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    seen["points"] = len(list(Path(REPO, "points").rglob("*.point"))) - points
    seen["after"] = sorted(set(scenes.names()) - set(before))
    return seen


def killed() -> dict[str, Any]:
    """A backup is killed; the sweep removes its snapshot, and none that somebody else made or still uses."""
    from engines.backup.lvm.source import opened
    from engines.backup.sources import Wish

    _repository()
    before = scenes.names()
    victim = os.fork()
    if victim == 0:
        _backup(scenes.ONE, disk="killed", limit="2M")
        os._exit(0)
    orphan = _appears(before)
    time.sleep(1.0)
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    foreign = "crashcart.v1/host=elsewhere/boot=00000000-0000-0000-0000-000000000000/pids=1/pid=1/started=1/run=x"
    scenes.run(
        "lvm",
        said="lvcreate --yes --snapshot --setactivationskip n --name crashcart_bare tg/two\n"
        f"lvcreate --yes --snapshot --setactivationskip n --addtag {foreign} --name crashcart_far tg/two\n"
        f"lvcreate --yes --snapshot --setactivationskip n --addtag {foreign} --name mine tg/two\n",
    )
    known = sweep.left()
    fates = {one.volume.lv_name: one.fate for one in known}
    with opened([scenes.TWO], Wish()) as (source,):  # it sweeps, too: the orphan is gone before this is made
        notes, during = source.notes, scenes.names()
    swept = lab.done("backup-snapshots")
    after = scenes.names()
    scenes.run("lvm", said="lvremove --yes tg/crashcart_bare tg/crashcart_far tg/mine\n")
    return {
        "orphan": orphan,
        "fates": fates,
        "notes": notes,
        "during": sorted(set(during) - set(before)),
        "swept": swept,
        "after": sorted(set(after) - set(before)),
    }


def swept() -> dict[str, Any]:
    """The command itself, on the orphan of a killed run, while another run is alive."""
    before = scenes.names()
    victim, alive = os.fork(), 0
    if victim == 0:
        _held(scenes.ONE)
    _appears(before)
    alive = os.fork()
    if alive == 0:
        _held(scenes.TWO)
    _appears(scenes.names())
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    run, last = lab.perform_job("backup-snapshots")
    events: list[AnyEvent] = [entry.event for entry in journal.entries(run.journal)]
    during = scenes.names()
    os.kill(alive, signal.SIGKILL)
    os.waitpid(alive, 0)
    second = lab.done("backup-snapshots")
    return {
        "result": last.result if isinstance(last, Finished) else str(last),
        "said": [event.text for event in events if isinstance(event, Log)],
        "during": len(set(during) - set(before)),
        "second": len(second["removed"]),
        "after": sorted(set(scenes.names()) - set(before)),
    }


def _held(path: Path) -> None:
    from engines.backup.lvm.source import opened
    from engines.backup.sources import Wish

    with opened([path], Wish(run="night")):
        time.sleep(600)
    os._exit(0)


def _appears(before: list[str]) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        new = sorted(set(scenes.names()) - set(before))
        if new:
            return new[0]
        time.sleep(0.05)
    raise AssertionError("no snapshot appears")
