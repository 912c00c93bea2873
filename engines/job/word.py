"""The word that a plan asks for, and which other one will do: the short name, or the whole path or address."""

from __future__ import annotations

from pathlib import PurePath

from engines.job.contract import Plan


def short(target: str) -> str:
    """The word for a path or a repository's address: its last part, short enough to type at a cold console."""
    return PurePath(target).name or target


def agrees(plan: Plan, word: str | None) -> bool:
    """Whether `word` starts, resumes or takes back this plan; any does where it asks for none."""
    return not plan.confirm or word == plan.confirm or (word == plan.target and short(plan.target) == plan.confirm)
