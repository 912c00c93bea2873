"""backup rename: all points of one VM go by another name; not a block of them is stored again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands import renamed_notes
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import Damaged, no_room_at_all
from engines.backup.names import PointName
from engines.backup.repository import catalogue, sessions, spelling
from engines.backup.repository.point import Point
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.repository.writer import Writer
from engines.backup.store.store import Store
from engines.job.contract import Cancel, Context, Events, Finished, Plan, Progress, Step, StepEnded, StepStarted
from engines.job.errors import BadParam, Refused
from engines.job.params import param


class RenameParams(RepoParams, frozen=True, kw_only=True):
    """From which name to which."""

    vm: Annotated[str, param("VM", "as it is called now", pattern=names.NAME, allowed="a VM's name", positional=True)]
    to: Annotated[str, param("New name", "which no VM has", pattern=names.NEW, allowed=names.ALLOWED, positional=True)]


class Rename(OnRepository[RenameParams]):
    """`crashcart backup rename`."""

    name: ClassVar[str] = "backup-rename"
    verb: ClassVar[str] = "rename"
    title: ClassVar[str] = "give all points of a VM another name"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Renamed
    params = RenameParams

    @override
    def plan_on(self, glance: NamesOnly, params: RenameParams, cancel: Cancel) -> Plan:
        known = glance.names()
        old = [str(name) for name in known if name.vm == params.vm]
        if not old:
            raise Refused(f"no VM here is called {params.vm}", "see what there is: crashcart backup list --disks")
        if any(name.vm == params.to for name in known) or not names.fit(params.to):
            raise BadParam("to", params.to, "a name that no VM here has", "see them: crashcart backup list --disks")
        spelling.refuse_twin(glance, {(params.to, name.disk) for name in known if name.vm == params.vm})
        return Plan(
            task=self.name,
            target=f"{params.vm} in {glance.store.where}",
            params={},
            steps=(
                Step(
                    id="rename",
                    title=f"Make {len(old)} points of {params.to} from those of {params.vm}",
                    no_stop="half of them would go by each name",
                ),
            ),
            facts=(
                ("VM", f"{params.vm}, from now on {params.to}"),
                ("points", str(len(old))),
                ("next backup", "hashes every block once, since its hashes by position go by the name"),
            ),
            undo="the points of the old name are put back until the next gc",
            detail={"points": old},
            state={"points": old},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="rename")
        params = plan.params
        old = [names.parse(text) for text in plan.detail["points"]]
        with (yield from opened(params, context)) as repository:
            store = repository.store
            _unused(repository, params.vm)
            with Presence(store, "write", f"rename of {params.vm} to {params.to}") as presence:
                writer = Writer(repository, presence)
                catalogue.look(repository, presence)
                with _told(store):
                    renamed_notes.follow(store, old, params.to)
                made = [_renamed(point, params.vm, params.to) for point in _points(repository, old)]
                for number, point in enumerate(made, 1):
                    catalogue.commit(repository, writer, [point])
                    yield Progress(done=number, total=len(old), unit="points")
                with _told(store):
                    store.rename_all([(name.path(), name.path("pruned")) for name in old])
                    renamed_notes.let_go(store, old)
        yield StepEnded(step="rename")
        yield Finished(
            summary=f"{len(made)} points of {params.vm} go by {params.to} now",
            result={"vm": params.vm, "to": params.to, "points": [str(point.name) for point in made]},
            then=(f"back it up under its new name from now on: --vm {params.to}",),
        )

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="rename")
        old = [names.parse(text) for text in plan.detail["points"]]
        with Repository.glance(plan.params.repo) as glance:
            store = glance.store
            sessions.sweep(store)
            with _told(store):
                store.rename_all([(name.path("pruned"), name.path()) for name in old])
            there = set(store.names("points"))
            if lost := [str(name) for name in old if name.path() not in there]:
                raise Refused(f"{len(lost)} points are gone for good: {', '.join(lost[:3])}", "gc has deleted them")
            new = [renamed_notes.renamed(name, plan.params.to) for name in old]
            with _told(store):
                renamed_notes.carried(store, new, old)
                store.rename_all([(name.path(), name.path("pruned")) for name in new])
                renamed_notes.let_go(store, new)
        yield StepEnded(step="rename")
        yield Finished(summary=f"{len(old)} points go by {plan.params.vm} again")


@contextmanager
def _told(store: Store) -> Iterator[None]:
    """What the store cannot do is a failure in words. Raises Failed."""
    try:
        yield
    except OSError as error:
        raise no_room_at_all(store.where, error) from None


def _unused(repository: Repository, vm: str) -> None:
    """Raises Refused where somebody works with the VM's points."""
    for session in sessions.living(repository.store):
        disks = session.disk.split(" ") + [pin.removeprefix("points/") for pin in session.pins]
        if any(disk.startswith(f"{vm}/") for disk in disks):
            raise Refused(session.explained(alive=True), "wait for it to end")


def _points(repository: Repository, old: list[PointName]) -> list[Point]:
    found = dict(repository.many(old))
    for name in old:
        point = found.get(name)
        if isinstance(point, Damaged):
            raise Refused(f"{name}: {point.why}", point.what_helps)
        if point is None and PointName(name.vm, name.disk, name.time).path("pruned") not in set(
            repository.store.names("pruned")
        ):
            raise Refused(f"{name} is not there any more", "see what is: crashcart backup list")
    return [point for point in found.values() if isinstance(point, Point)]


def _renamed(point: Point, old: str, new: str) -> Point:
    def other(text: str) -> str:
        return f"{new}/{text.removeprefix(f'{old}/')}" if text.startswith(f"{old}/") else text

    head = point.head
    together = tuple(other(text) for text in head.together)
    return Point(msgspec.structs.replace(head, vm=new, parent=other(head.parent), together=together), point.maps)
