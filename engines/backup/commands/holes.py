"""What a restore could not bring back is told: byte ranges, and the files that lie in them where those are known."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from engines.backup.files import holes as files
from engines.backup.repository.point import Point
from engines.backup.repository.repository import Repository
from engines.backup.restoring.runs import holes as stretches
from engines.job import units
from engines.job.contract import Section, Warned

TOLD = 20  # holes, and files in them, that are told one by one; the report has all


def told_holes(repository: Repository, point: Point, lost: Collection[int]) -> Any:
    """What could not be restored, told: byte ranges, and which files lie in them where that is known."""
    holes = stretches(point, lost)
    if not holes:
        return holes, ()
    lines = [f"{units.size(end - start)} at byte {start} to {end - 1}" for start, end in holes]
    yield Warned(
        text=f"{len(holes)} holes, {units.size(sum(end - start for start, end in holes))} in all, read as zeros"
    )
    for line in lines[:TOLD]:
        yield Warned(text=f"hole: {line}")
    hit, notes = files.files_in(repository, point, frozenset(lost))
    for name in hit[:TOLD]:
        yield Warned(text=f"damaged: {name}")
    for note in notes[:TOLD]:
        yield Warned(text=note)
    sections = (
        Section(title="Holes, in bytes of the disk", text="\n".join(lines)),
        Section(title="Files that lie in them", text="\n".join([*hit, *notes]) or "none that is known"),
    )
    return holes, sections
