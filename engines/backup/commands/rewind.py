"""backup rewind: a repository in a bucket as it was at a time, out of the bucket's versions, into a new one."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.new_prefix import refuse_within
from engines.backup.errors import NoRoom, no_room
from engines.backup.new_place import refuse_place
from engines.backup.repository.repository import RepoParams, where
from engines.backup.store.opening import open_store
from engines.backup.store.s3.versions import ObjectVersion, ObjectVersions
from engines.backup.store.store import Store
from engines.job import units
from engines.job.contract import (
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import param, plain

PART = r"(?!\.{1,2}/)[A-Za-z0-9._-]+"
NEEDED = re.compile(  # whoever can write there can call an object ../../etc/x
    rf"config\.json|packs/config\.json|(packs|index|quarantine|verified)/{PART}\.(pack|idx|json)"
    rf"|(points|pruned)/{PART}/{PART}/(?P<time>[0-9]{{8}}T[0-9]{{6}}Z)\.point"
)
CHANGES = re.compile(
    r"^(config\.json|packs/config\.json|quarantine/.+|verified/.+)$"
)  # the newest of that time is the true one
CONFIGS = ("config.json", "packs/config.json")
LONGEST_BACKUP = 86400.0  # s between a point's name and its writing
AHEAD = 86400.0  # s that a bucket's clock may be before ours
AT_ONCE = 8  # files that are asked for their locks
TIME = r"^[0-9]{8}T[0-9]{6}Z$"


class RewindParams(RepoParams, frozen=True, kw_only=True):
    """Which repository, as of when, to where."""

    repo: Annotated[str, param("Repository", "s3://BUCKET/PREFIX", kind="folder", positional=True)]
    at: Annotated[str, param("Time", "UTC, as points have it", pattern=TIME, allowed="a time like 20261130T031500Z")]
    into: Annotated[str, param("Into", "a new repository: a folder, sftp:// or s3://", kind="output")]

    @override
    def asks(self) -> tuple[str, ...]:
        """None: files are compared as they lie there."""
        return ()


class Rewind(Engine[RewindParams]):
    """`crashcart backup rewind`."""

    name: ClassVar[str] = "backup-rewind"
    verb: ClassVar[str] = "rewind"
    title: ClassVar[str] = "a repository in a bucket as it was at a time"
    kind: ClassVar[str] = "work"
    irreversible: ClassVar[str] = "what it made is a repository like any other: remove it yourself"
    result: ClassVar[type[results.Result]] = results.Rewound
    params = RewindParams

    @override
    def target(self, params: RewindParams) -> str:
        return f"backup rewind {hashlib.sha256(params.into.encode()).hexdigest()}"

    @override
    def plan(self, params: RewindParams, cancel: Cancel) -> Plan:
        if seconds(params.at) > time.time() + AHEAD:
            raise BadParam("at", params.at, "a time that has been", "see this machine's clock: date -u")
        refuse_place(params.into, "a repository", itself=False)
        refuse_within(params.into)
        versions = ObjectVersions(where(params))
        versions.demand()
        chosen = chosen_at(versions, seconds(params.at))
        if not any(version.name == "config.json" for version in chosen):
            raise Refused(f"there was no repository at {params.at}", "name a later time: crashcart backup tamper")
        with closing(open_store(params.into)) as store:
            if any(True for _ in store.names(".")):
                raise Refused(f"{params.into} is not empty", "name a new folder or prefix")
        points = sum(version.name.startswith("points/") for version in chosen)
        size = units.size(sum(version.size for version in chosen))
        return Plan(
            task=self.name,
            target=params.into,
            params={**plain(params), "repo": where(params)},
            steps=(Step(id="copy", title=f"Copy {len(chosen)} files, {size}"),),
            changes=(BytesChange(target=params.into, summary=f"a new repository with {points} points"),),
            facts=(("as of", params.at), ("points", str(points)), ("size", size)),
            state={"versions": sorted(version.id for version in chosen)},
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="copy")
        params: RewindParams = plan.params
        versions = ObjectVersions(params.repo)
        chosen = chosen_at(versions, seconds(params.at))
        total, done = sum(version.size for version in chosen), 0
        with closing(open_store(params.into)) as store:
            there = dict(store.sizes("."))
            try:
                for version in chosen:
                    if there.get(version.name) != version.size or version.name in CONFIGS:
                        _copy(versions, version, store)
                    done += version.size
                    yield Progress(done=done, total=total)
            except OSError as error:
                raise _unwritten(params.into, error, total - done) from None
        yield StepEnded(step="copy")
        points = sum(version.name.startswith("points/") for version in chosen)
        yield Finished(
            summary=f"{params.into} is {params.repo} as of {params.at}: {points} points, {units.size(total)}",
            result={"repo": params.into, "points": points, "files": len(chosen), "bytes": total},
            then=(f"prove it: crashcart backup verify --repo {params.into}",),
        )


def chosen_at(versions: ObjectVersions, at: float) -> list[ObjectVersion]:
    """The true version of every file that was there at Unix time `at`; config.json last, so that it is one when whole.

    What is written once is true as it was written first, whatever was put over it or over its grave later.
    """
    every = {name: kept for name, kept in versions.every().items() if _needed(name)}
    made = {name: names.seconds(point.time) for name in every if (point := names.of_path(name))}
    oldest = min(made.values(), default=math.inf)
    with ThreadPoolExecutor(AT_ONCE) as asking:
        if _redates(versions, every, made, asking):
            olds = [made.get(name, oldest) for name in every]
            kept = asking.map(partial(_dated, versions, at), every.values(), olds)
            every = dict(zip(every, kept, strict=True))
    found = [version for name, kept in every.items() if (version := _at(name, kept, at))]
    return sorted(found, key=lambda version: (version.name in CONFIGS, version.name))


def _needed(name: str) -> bool:
    """Whether it is a file of a repository; a point's time is one that points have."""
    found = NEEDED.fullmatch(name)
    return found is not None and (not found["time"] or names.of_path(name) is not None)


def _redates(
    versions: ObjectVersions,
    every: dict[str, list[ObjectVersion]],
    made: dict[str, float],
    asking: ThreadPoolExecutor,
) -> bool:
    """Whether this server dates what is locked by its lock (SeaweedFS), where others date it by its writing.

    A config's copy is written right behind it and never locked. Where none tells, what is dated later than it can
    have been written does: the config behind a point, a point a day behind its name.
    """
    configs, copies = (every.get(name, []) for name in CONFIGS)
    for one in configs:
        copy = next((copy for copy in copies if copy.tag and copy.tag == one.tag), None)
        if copy and not one.marker and versions.is_locked(one):
            return one.at > copy.at
    late = [every[name][0] for name, written in made.items() if every[name][0].at > written + LONGEST_BACKUP]
    late += [one for one in configs[:1] if one.at > min(made.values(), default=math.inf)]
    return any(asking.map(versions.is_locked, (one for one in late if not one.marker)))


def _dated(versions: ObjectVersions, at: float, kept: list[ObjectVersion], oldest: float) -> list[ObjectVersion]:
    """With the first one as old as it may be where it was locked, by a server that dates it by that.

    A point is not older than its name, all else not than the oldest point; a pack more than needed costs but its room.
    """
    first = kept[0]
    if first.marker or first.at <= at or oldest > at or not versions.is_locked(first):
        return kept
    return [replace(first, at=oldest), *kept[1:]]


def _at(name: str, kept: Sequence[ObjectVersion], at: float) -> ObjectVersion | None:
    past = [version for version in kept if version.at <= at]
    if not past or past[-1].marker:
        return None
    written = [version for version in past if not version.marker]
    return written[-1] if CHANGES.match(name) else written[0]


def _copy(versions: ObjectVersions, version: ObjectVersion, store: Store) -> None:
    if not version.name.endswith(".pack"):
        content = b"".join(versions.read(version))
        store.put(version.name, content)
        return
    stem = version.name.removeprefix("packs/").removesuffix(".pack")
    growing = store.append(f"packs/{'0' * 32}.{stem}.part")
    try:
        for piece in versions.read(version):
            growing.write([piece])
    except BaseException:
        growing.abandon()
        raise
    if growing.offset != version.size:
        growing.abandon()
        raise Failed(f"{version.name} has {growing.offset} bytes where {version.size} were listed", "run it again")
    growing.seal(version.name)


def _unwritten(place: str, error: OSError, left: int) -> Failed:
    """The failure; of a full place not what helps a repository that backups go to: its points are what is wanted."""
    found = no_room(place, error)
    if not isinstance(found, NoRoom):
        return found
    return NoRoom(
        found.why, f"make room for {units.size(left)} more there, then: crashcart resume; what was copied stays"
    )


def seconds(stamp: str) -> float:
    """Unix time of the end of that second. Raises BadParam."""
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() + 0.999
    except ValueError:
        raise BadParam("at", stamp, "a time like 20261130T031500Z") from None
