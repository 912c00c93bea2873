"""A point's disk onto standard output, as for another host: restore POINT - | ssh HOST 'cat >/dev/vg/web1'."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator

from engines.backup import names
from engines.backup.commands.restore_params import RestoreParams
from engines.backup.names import PointName
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.repository import NamesOnly, Repository
from engines.job import units
from engines.job.contract import Finished, Plan, Progress, Step, StepEnded
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import plain

STDOUT = "-"
PIECE = 4 * 1024 * 1024  # bytes written at a time


def planned(task: str, glance: NamesOnly, name: PointName, params: RestoreParams) -> Plan:
    """The plan of a restore to standard output. Raises BadParam, Refused."""
    for option in ("delta", "verify", "salvage", "wipe_tail"):
        if getattr(params, option):
            raise BadParam(option, True, "nothing with it to standard output", "name a file or device as the target")
    if stat.S_ISCHR(os.fstat(1).st_mode) and sys.stdout.isatty():
        raise Refused("standard output is a terminal", "send it on: … | ssh HOST 'cat >/dev/vg/web1', or name a file")
    return Plan(
        task=task,
        target=STDOUT,
        params={**plain(params), "repo": glance.store.where, "point": str(name), "target": STDOUT},
        steps=(Step(id="write", title=f"Write {name} to standard output"),),
        facts=(("point", str(name)), ("target", "standard output"), ("repository", glance.store.where)),
        undo="it cannot be: what was sent is sent",
        undoable=False,
        detail={"existed": False, "device": False},
        state={"point": str(name)},
    ).sealed()


def sent(repository: Repository, plan: Plan) -> Iterator[Progress | StepEnded | Finished]:
    """Send it. Raises Failed where whoever reads goes away, Missing, Damaged."""
    name = names.parse(plan.params.point)
    digest = hashlib.sha256()
    with open_point(repository, name, "restore to standard output") as source:
        for at in range(0, source.size, PIECE):
            piece = source.read(at, PIECE)
            digest.update(piece)
            _write(piece)
            yield Progress(done=at + len(piece), total=source.size)
        size = source.size
    yield StepEnded(step="write")
    yield Finished(
        summary=f"{name} is sent: {units.size(size)} ({size} bytes), SHA-256 {digest.hexdigest()}",
        result={"point": str(name), "target": STDOUT, "written": size, "same": 0},
        then=("compare there: head -c BYTES TARGET | sha256sum",),
    )


def _write(piece: bytes) -> None:
    view = memoryview(piece)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError as error:
        raise Failed(
            f"standard output takes no more: {error.strerror}", "what was sent is not whole; send it anew"
        ) from None
