"""The keep_… rules of prune, copy and lock: said once, and asked once which points they keep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import msgspec

from engines.backup.names import PointName
from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.upkeep import counted, retention
from engines.backup.upkeep.retention import Rules
from engines.job.params import param

KeepHourly = Annotated[int, param("Keep hourly", "the newest of this many hours", ge=0, le=100000)]
KeepDaily = Annotated[int, param("Keep daily", "the newest of this many days", ge=0, le=100000)]
KeepWeekly = Annotated[int, param("Keep weekly", "the newest of this many weeks", ge=0, le=100000)]
KeepMonthly = Annotated[int, param("Keep monthly", "the newest of this many months", ge=0, le=100000)]
KeepYearly = Annotated[int, param("Keep yearly", "the newest of this many years", ge=0, le=100000)]


def rules_of(params: RepoParams) -> Rules:
    """The rules among a verb's parameters; those that it does not have keep nothing."""
    given = msgspec.structs.asdict(params)
    named = {name: f"keep_{name}" for name in ("last", *retention.PERIODS)} | {"tags": "keep_tag"}
    return Rules(**{name: given[key] for name, key in named.items() if key in given})


def kept(repository: Repository, known: Sequence[PointName], params: RepoParams) -> list[PointName]:
    """Those that the rules keep, by days in UTC; all without a rule. Raises Refused."""
    rules = rules_of(params)
    if not rules:
        return list(known)
    seen = counted.by_heads(repository.heads(list(known)), retention.zone("UTC"), time.time())
    stay = retention.kept_of_each(seen, rules)
    return [name for name in known if name in stay]
