"""Scenes with the whole engine: volumes backed up, changed, restored, and a backup that is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import xxhash

from engines import tasks
from engines.job import journal
from engines.job.contract import AnyEvent, Cancel, Finished, Log, Plan, RunFailed, Warned
from engines.job.errors import Refused
from engines.job.params import convert
from tests.engines.backup import lab
from tests.engines.backup.sources.lvm.inside import scenes

REPO = "/run/repo"


def _sum(path: Path) -> str:
    """Of the whole; XXH3, since SHA-256 takes seconds in the emulation."""
    found = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as stream:
        while part := stream.read(4 << 20):
            found.update(part)
    return found.hexdigest()


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


def there_and_back() -> dict[str, Any]:
    """A thick volume: snapshot, backup, change, incremental; each point restored, the first also to the volume."""
    _repository()
    before = scenes.names()
    scenes.write(scenes.A, 16, seed=11)
    first_sum = _sum(scenes.A)
    first = _backup(scenes.A, disk="thick")
    scenes.write(scenes.A, 3, at=5, seed=12)
    second_sum = _sum(scenes.A)
    second = _backup(scenes.A, disk="thick", limit="40M")
    sums = [_restored(made, Path("/run/tmp/restored")) for made in (first, second)]
    lab.done("backup-restore", point=first["result"]["point"], target=str(scenes.A), repo=REPO, delta=True)
    return {
        "first": first,
        "second": second,
        "same": sums == [first_sum, second_sum],
        "volume": _sum(scenes.A) == first_sum,
        "left": sorted(set(scenes.names()) - set(before)),
    }


def thin() -> dict[str, Any]:
    """A thin volume: backed up from a snapshot, and restored."""
    _repository()
    before = scenes.names()
    scenes.write(scenes.ONE, 8, seed=13)
    wanted = _sum(scenes.ONE)
    made = _backup(scenes.ONE, disk="thin")
    return {
        "made": made,
        "same": _restored(made, Path("/run/tmp/restored")) == wanted,
        "left": sorted(set(scenes.names()) - set(before)),
    }


def _restored(made: dict[str, Any], target: Path) -> str:
    lab.done("backup-restore", point=made["result"]["point"], target=str(target), repo=REPO)
    found = _sum(target)
    target.unlink()
    return found


def into_a_pool() -> dict[str, Any]:
    """A point of 32 MiB of data is restored to a thin volume with room, and refused by one whose pool has 16 MiB."""
    _repository()
    scenes.write(scenes.ONE, 32, seed=14)
    wanted = _sum(scenes.ONE)
    made = _backup(scenes.ONE, disk="pooled")["result"]["point"]
    plan = _planned(made, scenes.TWO)
    lab.done("backup-restore", point=made, target=str(scenes.TWO), repo=REPO)
    try:
        _planned(made, scenes.TIGHT)
        refused = ""
    except Refused as error:
        refused = str(error)
    return {"facts": dict(plan.facts), "same": _sum(scenes.TWO) == wanted, "refused": refused}


def _planned(point: str, target: Path) -> Plan:
    engine = tasks.engine("backup-restore")
    return engine.plan(convert(engine.params, {"repo": REPO, "point": point, "target": str(target)}), Cancel())


def fails_full() -> dict[str, Any]:
    """A backup whose snapshot is too small for what is written meanwhile makes no point.

    The writer stops while the snapshot still lives, however late the watch looks at it.
    """
    _repository()
    before = scenes.names()
    points = len(list(Path(REPO, "points").rglob("*.point")))
    writer = os.fork()
    if writer == 0:
        try:
            scenes.fill(scenes.B, _appears(before), percent=96.0)
            os._exit(0)
        finally:
            os._exit(1)
    try:
        # 64 s of reading, if nothing ends it: the writer needs seconds, on a busy host some more
        seen = _backup(scenes.B, disk="busy", limit="1M", snapshot_size="16M")
    finally:
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
    seen["writer"] = os.waitstatus_to_exitcode(status)
    seen["points"] = len(list(Path(REPO, "points").rglob("*.point"))) - points
    seen["after"] = sorted(set(scenes.names()) - set(before))
    return seen


def killed() -> dict[str, Any]:
    """A backup is killed while another works: sweep removes the one's snapshot and nobody else's.

    Then the other is killed, too, and the next backup clears up after it by itself.
    """
    from engines.backup.sources.lvm.source import opened
    from engines.backup.sources.options import SourceOptions

    _repository()
    before = scenes.names()
    foreign = "crashcart.v1/host=elsewhere/boot=00000000-0000-0000-0000-000000000000/pids=1/pid=1/started=1/run=x"
    scenes.run(
        "lvm",
        said="lvcreate --yes --snapshot --setactivationskip n --name crashcart_bare tg/two\n"
        f"lvcreate --yes --snapshot --setactivationskip n --addtag {foreign} --name crashcart_far tg/two\n"
        f"lvcreate --yes --snapshot --setactivationskip n --addtag {foreign} --name mine tg/two\n",
    )
    others = sorted(set(scenes.names()) - set(before))
    victim, orphan = _at_work(scenes.ONE)
    worker, used = _at_work(scenes.TWO)
    _kill(victim)
    run, last = lab.perform_job("backup-snapshots")
    swept = sorted(set(scenes.names()) - set(before))
    _kill(worker)
    with opened([scenes.TWO], SourceOptions()) as (source,):
        notes = source.notes
    after = sorted(set(scenes.names()) - set(before))
    events: list[AnyEvent] = [entry.event for entry in journal.entries(run.journal)]
    scenes.run("lvm", said="lvremove --yes tg/crashcart_bare tg/crashcart_far tg/mine\n")
    return {
        "others": others,
        "orphan": orphan,
        "used": used,
        "removed": last.result["removed"] if isinstance(last, Finished) else str(last),
        "said": [event.text for event in events if isinstance(event, Log)],
        "swept": swept,
        "notes": notes,
        "after": after,
    }


def _at_work(path: Path) -> tuple[int, str]:
    """A backup in a process of its own, slow enough to be killed in the middle; its pid and its snapshot."""
    before = scenes.names()
    child = os.fork()
    if child == 0:
        _backup(path, disk=f"killed-{path.name}", limit="256K")  # four minutes, on any host
        os._exit(0)
    return child, _appears(before)


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _appears(before: list[str]) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        new = sorted(set(scenes.names()) - set(before))
        if new:
            return new[0]
        time.sleep(0.05)
    raise AssertionError("no snapshot appears")
