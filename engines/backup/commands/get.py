"""backup get: files out of a point, into a folder or a tar archive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from typing_extensions import override

from engines.backup import results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.files.globs import expanded
from engines.backup.files.model import shown
from engines.backup.files.opening import WhichDriver
from engines.backup.files.reach import chosen, is_locked, opened
from engines.backup.files.selection import Walk, places
from engines.backup.files.taking import getting, tarring
from engines.backup.files.taking.conflicts import Policy
from engines.backup.files.taking.counting import Counted, counted
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository
from engines.job import units
from engines.job.contract import BytesChange, Cancel, Choice, Context, Events, Option, Plan, Step
from engines.job.errors import BadParam, Refused
from engines.job.lock import name_identity
from engines.job.params import param
from engines.job.word import short

FLUSHING = "what was taken is being made durable"
STDOUT = "-"


class GetParams(RepoParams, frozen=True, kw_only=True):
    """What goes where."""

    paths: Annotated[
        tuple[str, ...],
        param("Files", "what to take: VM/DISK@TIME:/path, more of them or just /path", positional=True, metavar="PATH"),
    ]
    dest: Annotated[
        str,
        param(
            "Destination",
            "the folder that they go into; with --tar a file, or - for stdout",
            kind="output",
            positional=True,
        ),
    ]
    tar: Annotated[bool, param("Tar", "write one tar archive instead of files")] = False
    owner: Annotated[bool, param("Owner", "keep owners and ACLs; needs root")] = False
    special: Annotated[bool, param("Special", "make device nodes, pipes and sockets too; with --owner setuid")] = False
    parents: Annotated[bool, param("Parents", "keep the folders above each path")] = False
    conflict: Annotated[
        Policy, param("Where a file is there", "refuse, ask for each, skip it, overwrite it, or keep both (rename)")
    ] = "refuse"
    driver: WhichDriver = "auto"


class Get(OnRepository[GetParams]):
    """`crashcart backup get`."""

    name: ClassVar[str] = "backup-get"
    verb: ClassVar[str] = "get"
    title: ClassVar[str] = "take files out of a point"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Taken
    holds: ClassVar[bool] = True  # a point never changes, and conflicts are looked at again file by file
    params = GetParams

    @override
    def target(self, params: GetParams) -> str:
        if params.dest == STDOUT:
            return f"standard output of {os.getpid()}"
        return name_identity(Path(params.dest))

    @override
    def plan_on(self, glance: NamesOnly, params: GetParams, cancel: Cancel) -> Plan:
        name, paths = chosen(glance, params.paths)
        dest = Path(params.dest) if params.dest == STDOUT else Path(params.dest).resolve()
        before = tarring.looked_at(dest) if params.tar else getting.looked_at(dest)
        _possible(params)
        found: Counted | None = None
        notes: tuple[str, ...] = ()
        if not is_locked(params):
            with (
                Repository.of(params) as repository,
                opened(repository, name, params.driver, pinned=False, cancel=cancel) as tree,
            ):
                lost: list[str] = []
                meant = expanded(tree, paths, lambda path, error: lost.append(f"{shown(path)}: {error.why}"))
                there = places(meant, parents=params.parents)
                paths = paths if lost else meant  # a pattern stays one, so that the run meets the damage, too
                found = counted(Walk(tree, there), None if params.tar else dest, cancel)
                notes = (*tree.notes, *(tree.known.notes if tree.known else ()), *lost)
        taken = bool(before["file"]) if params.tar else bool(found and found.conflicts)
        if taken and params.conflict == "refuse":
            raise _refused(dest, found, params.tar)
        if params.tar and taken and params.conflict != "overwrite":
            raise Refused(f"{dest} is there already", "name another file, or give --conflict overwrite")
        return Plan(
            task=self.name,
            target=str(dest),
            params={"dest": str(dest), "paths": _named(str(name), paths)},
            steps=(
                Step(id="look", title=f"Open {name}"),
                Step(id="write", title=f"Write {_amount(found)} to {'stdout' if params.dest == STDOUT else dest}"),
                Step(id="flush", title="Have it on the disk", no_stop=FLUSHING),
            ),
            changes=_changes(dest, found, params, taken=taken),
            facts=_facts(str(name), dest, found),
            choices=_choices(found, params),
            warnings=(*notes, *_warnings(found, before, params)),
            undo=_undo(params, taken=taken),
            confirm=short(str(dest)) if taken and params.conflict == "overwrite" else "",
            detail={"existed": before["folder"], "counted": found is not None, "weight": found.weight if found else 0},
            state={"point": str(name), "before": {**before, "room": 0}, "there": found.named if found else []},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield from (tarring if plan.params.tar else getting).performed(plan, context)

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Files that are whole are not taken again; an archive begins anew."""
        yield from self.execute(plan, context)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield from (tarring if plan.params.tar else getting).taken_back(plan, context)


def _possible(params: GetParams) -> None:
    """Raises BadParam where the wish cannot be granted to this user."""
    import os

    if params.dest == STDOUT and not params.tar:
        raise BadParam("dest", STDOUT, "a folder", "give --tar to write an archive to stdout")
    if os.geteuid() == 0 or params.tar:
        return
    if params.owner:
        raise BadParam("owner", True, "no, for all but root", "run as root, or leave --owner: the files become yours")
    if params.special:
        raise BadParam("special", True, "no, for all but root", "run as root, or leave --special")


def _named(point: str, paths: list[bytes]) -> list[str]:
    return [f"{point}:{shown(path)}" for path in paths]


def _amount(found: Counted | None) -> str:
    if found is None:
        return "what is chosen"
    holes = f" ({units.size(found.weight)} without its holes)" if found.weight < found.bytes * 9 // 10 else ""
    return f"{found.files} files, {units.size(found.bytes)}{holes}"


def _refused(dest: Path, found: Counted | None, tar: bool) -> Refused:
    if tar or found is None:
        return Refused(f"{dest} is there already", "name another file, or give --conflict overwrite")
    first = ", ".join(found.named[:3]) + (" …" if found.conflicts > 3 else "")
    return Refused(
        f"{found.conflicts} files are in {dest} already: {first}",
        "give an empty folder, or --conflict skip, overwrite, rename (keeps both) or ask",
    )


def _changes(dest: Path, found: Counted | None, params: GetParams, *, taken: bool) -> tuple[BytesChange, ...]:
    if params.dest == STDOUT:
        return ()
    summary = f"{_amount(found)} go into it"
    if taken:
        count = found.conflicts if found and not params.tar else 1
        what = {
            "skip": "stay as they are",
            "overwrite": "are overwritten",
            "rename": "stay, the others get another name",
            "ask": "are asked about",
        }
        summary += f"; {count} that are there already {what[params.conflict]}"
    return (BytesChange(target=str(dest), summary=summary),)


def _facts(point: str, dest: Path, found: Counted | None) -> tuple[tuple[str, str], ...]:
    facts = [("point", point), ("destination", str(dest)), ("what", _amount(found))]
    if found is None:
        facts.append(("what is in it", "seen once the passphrase is given"))
    else:
        facts.append(("read by", "; ".join(sorted(found.drivers))))
    return tuple(facts)


def _choices(found: Counted | None, params: GetParams) -> tuple[Choice, ...]:
    if params.tar or found is None or not found.conflicts:
        return ()
    options = (
        Option(value="ask", label="ask for each"),
        Option(value="skip", label="skip", why="what is there stays, and is not taken again"),
        Option(value="rename", label="keep both", why="what is taken gets another name"),
        Option(value="overwrite", label="overwrite", why="what is there is lost"),
    )
    question = f"{found.conflicts} files are there already"
    return (Choice(param="conflict", question=question, options=options, chosen=params.conflict),)


def _warnings(found: Counted | None, before: dict[str, Any], params: GetParams) -> tuple[str, ...]:
    warnings = [
        f"{path} is a link to {target}: the link is taken, not what it leads to" for path, target in _links(found)
    ]
    need = found.bytes if found and not before.get("holes", True) else found.weight if found else 0
    if before["room"] is not None and need > before["room"]:
        holes = ", which keeps no holes," if found and need > found.weight else ""
        warnings.append(f"{units.size(need)} may not fit: the destination{holes} has less room than that")
    if found and found.special and not params.special:
        warnings.append(f"{found.special} device nodes, pipes and sockets are left out (--special --owner makes them)")
    return tuple(warnings)


def _links(found: Counted | None) -> list[tuple[str, str]]:
    return found.links if found else []


def _undo(params: GetParams, *, taken: bool) -> str:
    if params.dest == STDOUT:
        return "it cannot be: whoever reads stdout has it"
    if taken and params.conflict in ("overwrite", "ask"):
        return "what was taken is removed; what was overwritten does not come back"
    return "what was taken is removed again, unless it was changed since"
