"""Clears away what labs that were killed left, and nothing that no lab has on record."""

from __future__ import annotations

from engines.failover.lab import registry
from engines.failover.lab.registry import Swept
from engines.job.params import Params


class CleanParams(Params, frozen=True, kw_only=True):
    """Nothing to choose: only what is on record, and only of labs that are gone."""


def answer(_params: CleanParams) -> Swept:
    """Sweep."""
    return registry.sweep()


def table(swept: Swept) -> str:
    """What was cleared away, in lines."""
    lines = [words(swept)]
    lines += [f"  process {pid}, with its namespaces" for pid in swept.processes]
    lines += [f"  {folder}" for folder in swept.folders]
    lines += [f"  left alone: {run} is at work" for run in swept.at_work]
    return "\n".join(lines)


def words(swept: Swept) -> str:
    """What a sweep did, in one line."""
    if not swept.labs:
        return "nothing was left behind"
    return (
        f"cleared away what {_count(swept.labs, 'killed lab')} left: {_count(swept.processes, 'process', 'es')},"
        f" {_count(swept.folders, 'folder')}"
    )


def _count(found: list[str] | list[int], noun: str, plural: str = "s") -> str:
    return f"{len(found)} {noun}{plural if len(found) != 1 else ''}"
