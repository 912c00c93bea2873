"""backup tamper and fitness: what was done to a bucket that backups never do, and whether it keeps what it promises."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from engines.backup.errors import FarFailed
from engines.backup.repository.repository import RepoParams, where
from engines.backup.store.s3 import fitness
from engines.backup.store.s3.store import open_s3
from engines.backup.store.s3.versions import ObjectVersion, ObjectVersions, policy
from engines.job.contract import Look
from engines.job.errors import Refused
from engines.job.params import param
from engines.job.units import one_line

ONCE = re.compile(r"^(packs/[0-9a-f]{32}\.pack|index/[0-9a-f]{32}\.idx|points/.+\.point)$")  # written once
PACK = re.compile(r"^packs/([0-9a-f]{32})\.pack$")
KEYS = (
    "format",
    "check",
    "wrapped",
    "kdf",
    "salt",
    "n",
    "r",
    "p",
    "ways",
)  # of config.json: what a change of keys changes


class BucketParams(RepoParams, frozen=True, kw_only=True):
    """A repository in a bucket."""

    repo: Annotated[str, param("Repository", "s3://BUCKET/PREFIX", kind="folder", positional=True)] = ""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a backup never does. `at`: UTC. `first`: the version that was written first, the true one."""

    name: str
    what: str
    at: str
    first: str = ""


class Tampered(msgspec.Struct, frozen=True, kw_only=True):
    """What was found among so many names. `notes`: changes that have a cause, such as another key."""

    repo: str
    names: int
    found: list[Trace]
    notes: list[str] = []


def tamper(params: BucketParams) -> Tampered:
    """Every trace in the bucket's versions. Raises Refused where it keeps none, FarFailed."""
    versions = ObjectVersions(where(params))
    versions.demand()
    every = versions.every()
    if not every.keys() & {"config.json", "packs/config.json"}:
        raise Refused(
            f"{versions.address} has no config.json, and never had one that is known",
            "correct the bucket or prefix; if there was a repository, somebody deleted it with all of its versions",
        )
    condemned = _condemned(versions, every)
    found: list[Trace] = []
    notes: list[str] = []
    for name, kept in sorted(every.items()):
        if name in ("config.json", "packs/config.json"):
            _config(versions, name, kept, found, notes)
        elif ONCE.match(name):
            found += _overwritten(name, kept)
            found += _deleted(name, kept, every, condemned)
    return Tampered(repo=str(versions.address), names=len(every), found=found, notes=notes)


def _condemned(versions: ObjectVersions, every: dict[str, list[ObjectVersion]]) -> set[str]:
    """Packs that a gc ever meant to delete: its lists are deleted, too, but their versions stay."""
    found: set[str] = set()
    for name, kept in every.items():
        if not name.startswith("condemned/"):
            continue
        for version in kept:
            if not version.marker:
                try:
                    found |= set(msgspec.json.decode(b"".join(versions.read(version)), type=list[str]))
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                    continue
    return found


def _overwritten(name: str, kept: list[ObjectVersion]) -> Iterator[Trace]:
    """Other contents than the first."""
    written = [version for version in kept if not version.marker]
    for version in written[1:]:
        if version.tag != written[0].tag:
            yield Trace(name=name, what="OVERWRITTEN with other content", at=_utc(version.at), first=written[0].id)


def _deleted(
    name: str, kept: list[ObjectVersion], every: dict[str, list[ObjectVersion]], condemned: set[str]
) -> Iterator[Trace]:
    """A marker that no prune and no gc explains; an index that is gone is made anew, and gc merges them."""
    if not kept[-1].marker or name.startswith("index/"):
        return
    pack = PACK.match(name)
    if pack and pack[1] in condemned:
        return
    written = [version for version in kept if not version.marker]
    if not written:
        return  # the bucket's lifecycle took it away after its time
    moved = every.get(name.replace("points/", "pruned/", 1), []) if not pack else []
    gone, taken = (sum(one.marker for one in kept), sum(not one.marker for one in moved))
    if gone <= taken:
        return  # each time it went from points/, it came to pruned/
    first = written[0].id
    yield Trace(name=name, what="DELETED by neither prune nor gc", at=_utc(kept[-1].at), first=first)


def _config(
    versions: ObjectVersions, name: str, kept: list[ObjectVersion], found: list[Trace], notes: list[str]
) -> None:
    written = [version for version in kept if not version.marker]
    if kept[-1].marker:
        first = written[0].id if written else ""
        found.append(Trace(name=name, what="DELETED", at=_utc(kept[-1].at), first=first))
    lasting = [_lasting(b"".join(versions.read(version))) for version in written]
    for version, said in zip(written[1:], lasting[1:], strict=True):
        if said != lasting[0] or not said:
            found.append(
                Trace(name=name, what="OVERWRITTEN with other content", at=_utc(version.at), first=written[0].id)
            )
        elif version.tag != written[0].tag and name == "config.json":
            notes.append(f"the repository's keys were changed at {_utc(version.at)}")


def _lasting(raw: bytes) -> dict[str, Any]:
    """What of a config no change of keys changes; nothing of what is no config."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    return {name: value for name, value in found.items() if name not in KEYS}


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def table(found: Tampered) -> str:
    """The same in lines."""
    return "\n".join(map(one_line, _lines(found)))


def _lines(found: Tampered) -> Iterator[str]:
    yield from (f"{one.name}: {one.what}, {one.at}; true is version {one.first or 'none'}" for one in found.found)
    yield from found.notes
    if not found.found:
        yield f"{found.repo}: {found.names} names, nothing that a backup does not do"
        return
    yield f"{found.repo}: {len(found.found)} traces of somebody else, the first at {min(one.at for one in found.found)}"
    yield f"get it as it was: crashcart backup rewind --repo {found.repo} --at TIME --into REPO2"


# ── fitness ─────────────────────────────────────────────────────────────────────────────────────────


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What was proven of a bucket. versions, locks: yes, no, or why that is not known. policy: of a writer's key."""

    repo: str
    server: str
    proofs: list[fitness.Proof]
    versions: str
    locks: str
    policy: dict[str, Any]

    @property
    def fit(self) -> bool:
        """Whether a repository may lie there."""
        return all(proof.kept for proof in self.proofs)


def proven(params: BucketParams) -> Fit:
    """Every promise that a repository rests on, tried with small objects. Raises Refused, FarFailed."""
    place = where(params)
    if not place.startswith("s3://"):
        raise Refused(f"{place} is no bucket: a file system keeps its promises", "name s3://BUCKET/PREFIX")
    store = open_s3(place)
    kept, locks = _asked(place)
    return Fit(
        repo=place,
        server=store.bucket.access.place,
        proofs=fitness.prove(store.bucket),
        versions=kept,
        locks=locks,
        policy=policy(store.bucket.address),
    )


def _asked(place: str) -> tuple[str, str]:
    try:
        versions = ObjectVersions(place)
        return ("yes" if versions.kept() else "no"), ("yes" if versions.locks() else "no")
    except (Refused, FarFailed) as error:
        return (f"not known: {error.why}",) * 2


def told(found: Fit) -> str:
    """The same in lines: what to send in of a server that was not seen before."""
    lines = [f"{found.repo} at {found.server}"]
    lines += [
        f"{'yes' if proof.kept else 'NO '}  {proof.name}" + (f": {proof.seen}" if proof.seen else "")
        for proof in found.proofs
    ]
    lines += [f"it keeps versions: {found.versions}", f"its objects can be locked: {found.locks}"]
    lines += ["", "a policy for the key that backs up (it can neither delete versions nor change locks):"]
    lines += json.dumps(found.policy, indent=1).splitlines()
    lines += ["", "a rule for the bucket's lifecycle: abort incomplete multipart uploads after 2 days"]
    return "\n".join([*lines, "", "fit for a repository" if found.fit else "NOT FIT for a repository"])


LOOKS = (
    Look("tamper", "what was overwritten or deleted in a bucket that no backup does", BucketParams, tamper, table),
    Look("fitness", "whether a bucket keeps the promises that a repository rests on", BucketParams, proven, told),
)
