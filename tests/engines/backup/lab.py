"""Small disks, repositories and runs for the tests of the backup engine."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines import tasks
from engines.backup.pages.page_cache import resident
from engines.backup.repository.repository import Repository
from engines.job import runs
from engines.job.contract import AnyEvent, Cancel, Finished, Measured, RunFailed, StepStarted, Warned
from engines.job.jobfile import Job, open_secrets
from engines.job.journal import Entry
from engines.job.params import Secret, convert
from engines.job.perform import Stop, perform
from engines.job.work import follow_up
from tests.agreed import AGREED

MIB = 1024 * 1024


def block(seed: int, length: int = MIB) -> bytes:
    """A block that compresses to about a half."""
    rng = random.Random(seed)
    return (rng.randbytes(length // 2) + bytes([seed % 256]) * length)[:length]


def disk(path: Path, blocks: dict[int, int], size: int) -> Path:
    """A sparse image of `size` bytes with block(seed) at the given numbers."""
    with path.open("wb") as stream:
        stream.truncate(size)
        for number, seed in blocks.items():
            stream.seek(number * MIB)
            stream.write(block(seed, min(MIB, size - number * MIB)))
    return path


def cold(path: Path) -> Path:
    """The image with none of it in memory: what the kernel limits is the disk, not the page cache."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return path


def warm(path: Path) -> Path:
    """The image with all of it in memory: now and then the kernel takes back a page that was just read."""
    with path.open("rb") as stream:
        for _ in range(20):
            while stream.read(4 * MIB):
                pass
            if resident(stream.fileno(), 0, path.stat().st_size) >= path.stat().st_size:
                return path
            stream.seek(0)
    raise AssertionError(f"{path} does not stay in memory")


def perform_job(
    task: str,
    *,
    stop: Stop | None = None,
    listen: Callable[[Entry], None] | None = None,
    secrets: dict[str, Secret] | None = None,
    mode: str = "do",
    earlier: str = "",
    answer_within: float = 120.0,
    **params: Any,
) -> tuple[runs.Run, AnyEvent]:
    """A run of a task, to its last word."""
    engine = tasks.engine(task)
    opened = open_secrets(engine.params, params) | (secrets or {})
    target = task
    if mode == "do":
        target = engine.plan(convert(engine.params, opened), Cancel()).target
    run = runs.create(Job(task=task, params=params), target, mode=mode, earlier=earlier)
    last = perform(
        run,
        engine,
        stop=stop,
        listen=listen,
        secrets=secrets or {},
        answer_within=answer_within,
        confirm=AGREED,
    )
    return run, last


def followed(run: runs.Run, mode: str, *, stop_at: str = "") -> tuple[runs.Run, AnyEvent]:
    """The run that takes up or takes back `run`, as command line and suite begin it; stopped at that step."""
    begun, _ = follow_up(run, mode)
    stop = Stop()
    engine = tasks.engine(run.job().task)
    return begun, perform(begun, engine, stop=stop, listen=stops_at(stop_at, stop), confirm=AGREED)


def stops_at(step: str, stop: Stop) -> Callable[[Entry], None]:
    """Asks for the stop when that step begins."""

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == step:
            stop.ask()

    return listen


def done(task: str, **params: Any) -> dict[str, Any]:
    """The result of a run that must succeed."""
    _, last = perform_job(task, **params)
    assert isinstance(last, Finished), last
    return last.result


def init(folder: Path, *, pack: int = 0, **params: Any) -> str:
    """A repository; `pack` bytes a pack where the usual size is too large for a test."""
    repo = str(folder)
    done("backup-init", repo=repo, **params)
    if pack:
        small_packs(repo, pack)
    return repo


def small_packs(repo: str, pack: int) -> None:
    """Have packs end early."""
    import msgspec

    from engines.backup.repository import config
    from engines.backup.store.opening import open_store

    store = open_store(repo)
    store.put(config.NAME, config.written(msgspec.structs.replace(config.load(store), pack=pack)))


def backup(repo: str, source: Path, vm: str = "web1", **params: Any) -> str:
    """The point that a backup made."""
    found = done("backup", repo=repo, source=str(source), vm=vm, **{"limit": "none", **params})
    return str(found["point"])


def content(repo: str, point: str, **unlock: Any) -> bytes:
    """What restoring a point gives."""
    target = Path(os.environ["XDG_STATE_HOME"]).parent / f"restored-{os.urandom(4).hex()}"
    done("backup-restore", repo=repo, point=point, target=str(target), **unlock)
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def opened(repo: str) -> Repository:
    """The repository, its index read."""
    repository = Repository.open(repo)
    repository.load()
    return repository


def dated(repo: str, point: str, *, time_: str, taken: str = "") -> str:
    """The point as it would be had the clock said `time_` (UTC, like 20261122T082300Z); its name."""
    import msgspec

    from engines.backup.repository import record
    from engines.backup.repository.point import Point, encode

    with opened(repo) as repository:
        found = repository.point(repository.resolve(point))
        made = Point(msgspec.structs.replace(found.head, time=time_, taken=taken), found.maps)
        content = encode(made)
        name = repository.codec.id(record.POINT, content)
        front, payload, _ = repository.codec.encode(record.POINT, name, content)
        repository.store.delete(found.name.path())
        repository.store.put(made.name.path(), front + bytes(payload))
    return str(made.name)


def warned(task: str, **params: Any) -> list[str]:
    """The warnings of a run that must succeed."""
    told: list[str] = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Warned):
            told.append(entry.event.text)

    _, last = perform_job(task, listen=listen, **params)
    assert isinstance(last, Finished), last
    return told


def packs(repo: str) -> dict[str, int]:
    """Pack files with their sizes."""
    return {path.name: path.stat().st_size for path in Path(repo, "packs").glob("*.pack")}


def verified(**params: Any) -> dict[str, Any]:
    """What a verify found, whether all is whole or the run failed because it is not."""
    told: list[dict[str, Any]] = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Measured) and entry.event.kind == "verify":
            told.append(entry.event.data)

    _, last = perform_job("backup-verify", listen=listen, **params)
    if isinstance(last, Finished):
        return last.result
    assert isinstance(last, RunFailed) and last.why.startswith("DAMAGED"), last
    return told[-1]
