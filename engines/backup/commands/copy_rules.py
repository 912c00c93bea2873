"""Which points a copy brings and which go there: the rules count what one repository or the other has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from engines.backup.commands.keeping import rules_of
from engines.backup.names import PointName
from engines.backup.repository import protected
from engines.backup.repository.point import Head
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.upkeep import counted, retention
from engines.backup.upkeep.retention import SeenPoint
from engines.job.errors import Refused

BY_NAMES = "{where} is locked and no key was given: until it is, its points are counted by the times in their names"


@dataclass(frozen=True)
class Ruled:
    """`brought`: points of the source; `go`: points of the target, of disks that are copied; each in its order."""

    brought: tuple[PointName, ...]
    go: tuple[PointName, ...] = ()
    warnings: tuple[str, ...] = ()


def ruled(source: NamesOnly, target: NamesOnly, known: Sequence[PointName], params: RepoParams) -> Ruled:
    """By days in UTC; all that is known without a rule. A repository that is not open goes by names. Raises Refused."""
    rules = rules_of(params)
    if not rules:
        return Ruled(tuple(known))
    disks = {(name.vm, name.disk) for name in known}
    there = [name for name in target.names() if (name.vm, name.disk) in disks]
    counts = {seen.name: seen for seen in (*_counted(target, there), *_counted(source, known, whole=True))}
    stay = set(retention.kept_of_each([counts[name] for name in sorted(counts)], rules))
    stay |= protected.every(source) | protected.every(target)
    return Ruled(
        tuple(name for name in known if name in stay),
        tuple(name for name in there if name not in stay),
        tuple(BY_NAMES.format(where=one.store.where) for one in (source, target) if not isinstance(one, Repository)),
    )


def _counted(one: NamesOnly, known: Sequence[PointName], *, whole: bool = False) -> list[SeenPoint]:
    """As they are counted. whole: without those that are damaged, which are not copied and must displace no other."""
    zone, now = retention.zone("UTC"), time.time()
    if not isinstance(one, Repository):
        return counted.by_names(known, zone, now)
    heads = one.heads(known)
    return counted.by_heads({name: h for name, h in heads.items() if isinstance(h, Head) or not whole}, zone, now)


def looked(params: RepoParams) -> NamesOnly:
    """A repository for a look, for a `with`: open, where it is not locked or its key was given. Raises Refused."""
    try:
        return Repository.of(params)
    except Refused:
        if params.key_file or params.passphrase:
            raise
    return Repository.glance(where(params))
