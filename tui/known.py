"""What a field can be filled in with: values of earlier runs, and what lies in the repository that the form names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from engines.job import earlier
from engines.job.errors import CrashcartError
from engines.job.params import Field
from tui.draft import Draft, quoted
from tui.widgets.picking import Offer

POINTS = ("point", "paths", "old", "new", "drop")
SECTION = "backup"
REPOSITORIES = ("repo", "to")


@dataclass(frozen=True)
class Known:
    """The offers for one field of a draft; asked in a thread, since a repository may be slow to answer."""

    draft: Draft
    field: Field

    @property
    def task(self) -> str:
        """The task whose form it is."""
        return self.draft.engine.name

    def earlier(self) -> list[str]:
        """Whole texts that the field held in earlier runs, newest first; a secret has none."""
        if self.field.shape == "secret":
            return []
        found = earlier.values(self.task, *self._kin())
        return [quoted(text) for text in found] if self.field.shape == "list" else found

    def offers(self, *, far: bool = True) -> list[Offer]:
        """What it can be, the likeliest first. `far`: a repository on another machine is asked too."""
        if self.field.shape == "secret":
            return []
        found = [Offer(point, "in the repository") for point in self._points(far=far)]
        used = [Offer(value, "used before") for value in earlier.values(self.task, *self._kin())]
        named = {offer.value for offer in found}
        return [*found, *(offer for offer in used if offer.value not in named)]

    def _kin(self) -> tuple[str, ...]:
        """The parameters that hold the same sort of thing."""
        name = self.field.name
        if self._is_repository():
            return REPOSITORIES[:1]
        return next((kin for kin in KIN if name in kin), (name,))

    def _is_repository(self) -> bool:
        return self.task.startswith(SECTION) and self.field.kind == "folder" and self.field.name in REPOSITORIES

    def _points(self, *, far: bool) -> list[str]:
        """Points, VMs or disks of the repository, whichever the field takes."""
        name = self.field.name
        if not self.task.startswith(SECTION) or name not in (*POINTS, "vm", "disk", "only"):
            return []
        where = str(self.draft.raw.get("repo") or os.environ.get("CRASHCART_REPO", ""))
        if not where or ("://" in where and not far):
            return []
        return list(_shaped(name, _names(where)))


KIN = (("switch", "mate"), ("user", "mate_user"), ("console", "mate_console"), ("source", "more", "target"))


def _names(where: str) -> list[str]:
    """The points of a repository, newest first, empty where it cannot be read: the field itself says why."""
    from engines.backup.repository.repository import Repository

    try:
        with Repository.glance(os.path.expanduser(where)) as glance:  # noqa: PTH111  pathlib raises on unknown users
            found = [str(name) for name in glance.names()]
    except (CrashcartError, OSError, ValueError):
        return []
    return sorted(found, key=lambda name: name.rpartition("@")[::-1], reverse=True)


def _shaped(name: str, points: Iterable[str]) -> Iterable[str]:
    disks = dict.fromkeys(point.rpartition("@")[0] for point in points)
    if name in ("vm", "only"):
        return dict.fromkeys(disk.partition("/")[0] for disk in disks)
    if name == "disk":
        return dict.fromkeys(disk.partition("/")[2] for disk in disks)
    latest = [] if name == "drop" else [f"{disk}@latest" for disk in sorted(disks)]
    return [*latest, *points]
