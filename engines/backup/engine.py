"""The front door of the backup task."""

from __future__ import annotations

from typing import Any

from engines.backup.commands import copy, diff, key, key_looks, listing, one_file, search, tamper, versions
from engines.backup.commands.boot import Boot
from engines.backup.commands.gc import Gc
from engines.backup.commands.get import Get
from engines.backup.commands.guest import BringGuest
from engines.backup.commands.guests import GUESTS
from engines.backup.commands.init import Init
from engines.backup.commands.listing import ListParams
from engines.backup.commands.lock import Lock
from engines.backup.commands.looks import LOOKS as BROWSE
from engines.backup.commands.mount import MountPoint
from engines.backup.commands.protect import Protect
from engines.backup.commands.prove import Prove
from engines.backup.commands.prune import Prune
from engines.backup.commands.put import PutFiles
from engines.backup.commands.rename import Rename
from engines.backup.commands.restore import Restore
from engines.backup.commands.rewind import Rewind
from engines.backup.commands.run import Run
from engines.backup.commands.serve import Serve
from engines.backup.commands.snapshots import Sweep
from engines.backup.commands.verify import Verify
from engines.backup.repository.repository import Repository
from engines.job.contract import Engine, Look


def _listed(params: ListParams) -> listing.Listed:
    with Repository.of(params) as repository:
        return listing.listed(repository, params)


ENGINES: tuple[Engine[Any], ...] = (
    Run(), Init(), Restore(), Get(), PutFiles(), MountPoint(), Serve(), Boot(), Prove(), Verify(), Prune(), Gc(),
    Protect(), Rename(), Sweep(), BringGuest(),
    *key.KEYS, copy.Copy(), one_file.Export(), one_file.Import(), Lock(), Rewind(),
)  # fmt: skip
LOOKS = (
    Look("list", "the restore points of a repository", ListParams, _listed, listing.table),
    GUESTS,
    *BROWSE,
    *key_looks.LOOKS,
    *tamper.LOOKS,
    Look("diff", "which files differ between two points", diff.DiffParams, diff.answer, stream=diff.lines),
    Look(
        "search",
        "a name over all points of a guest, or of all",
        search.SearchParams,
        search.answer,
        stream=search.lines,
    ),
    Look(
        "versions",
        "one path through all points of a disk",
        versions.VersionsParams,
        versions.answer,
        stream=versions.lines,
    ),
)
