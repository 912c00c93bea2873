"""Points passed from one repository to another: stored there, read back, and taken out again where that is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from engines.backup import names
from engines.backup.commands.copy_rules import looked
from engines.backup.commands.made_points import MadePoints, begun, noted, take_out, unnoted
from engines.backup.errors import Damaged, no_room
from engines.backup.names import PointName
from engines.backup.repository import catalogue
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository
from engines.backup.repository.sessions import Presence
from engines.backup.store import uplink
from engines.backup.store.uplink import Uplink
from engines.backup.upkeep import copying
from engines.backup.upkeep.copying import Copying
from engines.job import units
from engines.job.contract import AnyEvent, Context, Events, Finished, Progress, Step, StepEnded, StepStarted, Warned
from engines.job.errors import Refused

STEPS = (
    Step(id="copy", title="Copy what is not there yet"),
    Step(id="check", title="Read back what was stored"),
)


@dataclasses.dataclass(frozen=True)
class Told:
    """How fast it goes, how the last word speaks, and what is done there once all is read back."""

    where: str
    uplink: str = "none"
    verb: str = "copied to"
    then: str = "prove it: crashcart backup verify --repo"
    after: Callable[[], Iterable[AnyEvent]] = tuple


def passed(source: Repository, target: Repository, chosen: Sequence[PointName], context: Context, told: Told) -> Events:
    """Copy the points, then read back what was stored; the step `copy` has begun."""
    there = set(target.names())
    pins = tuple(name.path() for name in chosen)
    with (
        Presence(source.store, "read", f"copy to {target.store.where}", pins=pins),
        Presence(target.store, "write", f"copy from {source.store.where}") as presence,
    ):
        catalogue.look(target, presence)
        held = Uplink(uplink.parse(told.uplink), context.cancel.sleep)
        work = Copying(source, target, presence, held, MadePoints(context.home, presence.session.id).add)
        try:
            yield from _points(work, source, target, chosen, there)
            work.commit()
        except OSError as error:
            work.leave()
            raise no_room(target.store.where, error) from None
        except BaseException:
            work.leave()
            raise
        yield StepEnded(step="copy")
        yield StepStarted(step="check")
        for done, total in work.check():
            yield Progress(done=done, total=total, unit="records")
        yield StepEnded(step="check")
    try:
        yield from told.after()
    except OSError as error:
        raise no_room(target.store.where, error) from None
    yield Finished(
        summary=f"{len(work.made)} points {told.verb} {told.where}: {units.size(work.read)} read,"
        f" {units.size(work.stored)} stored, all of it read back",
        result={"points": tuple(work.made), "read": work.read, "stored": work.stored, "checked": work.checked},
        then=(f"{told.then} {told.where}",),
    )


def _points(
    work: Copying, source: Repository, target: Repository, chosen: Sequence[PointName], there: set[PointName]
) -> Iterator[AnyEvent]:
    heads = {name: found for name, found in source.heads(list(chosen)).items()}
    total = sum(0 if isinstance(head, Damaged) else head.size for head in heads.values())
    before = 0
    for name, head in heads.items():
        if isinstance(head, Damaged):
            yield Warned(text=f"{name} is not copied: {head.why}")
            continue
        if name in there:
            if not copying.same(source, target, name):
                yield Warned(text=f"{name} is left alone: there is another point of that name there")
            work.before(name)
        else:
            for done in work.point(name):
                yield Progress(done=before + done, total=total)
        before += head.size
        yield Progress(done=before, total=total)


def _opened_to_undo(there: RepoParams) -> NamesOnly:
    """It, or its names alone where the key is not to be had any more: what is noted can be taken out without it."""
    try:
        return looked(there)
    except Refused:
        return Repository.glance(there.repo)


def taken_out(there: RepoParams, chosen: Iterable[str], context: Context) -> Events:
    """Take the points that the run made, and those that resumed it, out of the repository `there` again.

    chosen: the points that it was to make: one that a kill left unnoted is among them, and known by its session.
    """
    yield StepStarted(step="undo")
    place = there.repo
    with _opened_to_undo(there) as target:
        known = noted(context.earlier)
        if isinstance(target, Repository):
            disks = {(name.vm, name.disk) for name in map(names.parse, chosen)}
            known |= unnoted(target, context.earlier, sorted(disks))
        elif begun(context.earlier):
            yield Warned(
                text=f"{place} is locked and nothing was given that opens it: a point that a killed run made and had"
                " not noted is not seen, and stays there"
            )
        gone = take_out(target.store, known)
    yield StepEnded(step="undo")
    yield Finished(
        summary=f"{len(gone)} points are taken out of {place}",
        then=(f"free the space: crashcart backup gc --repo {place}",),
    )
