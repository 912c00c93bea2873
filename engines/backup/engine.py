"""The front door of the backup task."""

from __future__ import annotations

from typing import Annotated, Any

from engines.backup.commands import diff, listing, versions
from engines.backup.commands.boot import Boot
from engines.backup.commands.gc import Gc
from engines.backup.commands.get import Get
from engines.backup.commands.init import Init
from engines.backup.commands.looks import LOOKS as BROWSE
from engines.backup.commands.mount import MountPoint
from engines.backup.commands.prune import Prune
from engines.backup.commands.put import Put
from engines.backup.commands.restore import Restore
from engines.backup.commands.run import Run
from engines.backup.commands.serve import Serve
from engines.backup.commands.snapshots import Sweep
from engines.backup.commands.verify import Verify
from engines.backup.repository.repository import RepoParams, Repository
from engines.job.contract import Engine, Look
from engines.job.params import param


class ListParams(RepoParams, frozen=True, kw_only=True):
    """Which points."""

    only: Annotated[str, param("Only", "points that begin so, such as web1/ or web1/disk0@2026")] = ""


def _listed(params: ListParams) -> listing.Listed:
    with Repository.of(params) as repository:
        return listing.listed(repository, params.only)


ENGINES: tuple[Engine[Any], ...] = (
    Run(), Init(), Restore(), Get(), Put(), MountPoint(), Serve(), Boot(), Verify(), Prune(), Gc(), Sweep(),
)  # fmt: skip
LOOKS = (
    Look("list", "the restore points of a repository", ListParams, _listed, listing.table),
    *BROWSE,
    Look("diff", "which files differ between two points", diff.DiffParams, diff.answer, stream=diff.lines),
    Look(
        "versions",
        "one path through all points of a disk",
        versions.VersionsParams,
        versions.answer,
        stream=versions.lines,
    ),
)
