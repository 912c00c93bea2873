"""backup protect: a point stays, whatever the rules of prune say, until it is let go."""

from __future__ import annotations

import contextlib
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import no_room
from engines.backup.repository import protected
from engines.backup.repository.repository import WHICH_POINT, NamesOnly, RepoParams, Repository, where
from engines.backup.store.store import Store
from engines.job.contract import Cancel, Context, Events, Finished, Plan, Step, StepEnded, StepStarted
from engines.job.errors import Refused
from engines.job.params import param


class ProtectParams(RepoParams, frozen=True, kw_only=True):
    """Which point."""

    point: Annotated[str, WHICH_POINT]
    why: Annotated[str, param("Why", "a word on it for whoever finds it")] = ""
    off: Annotated[bool, param("Off", "let it go again: prune goes by its rules")] = False

    @override
    def asks(self) -> tuple[str, ...]:
        """None: it goes by the point's name."""
        return ()


class Protect(OnRepository[ProtectParams]):
    """`crashcart backup protect`."""

    name: ClassVar[str] = "backup-protect"
    verb: ClassVar[str] = "protect"
    title: ClassVar[str] = "have a point stay, whatever the rules of prune say"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Protected
    params = ProtectParams

    @override
    def target(self, params: ProtectParams) -> str:
        return f"backup protect {where(params)} {params.point}"

    @override
    def plan_on(self, glance: NamesOnly, params: ProtectParams, cancel: Cancel) -> Plan:
        name = glance.resolve(params.point)
        is_so = name in protected.every(glance)
        if is_so != params.off:
            raise Refused(f"{name} is {'protected already' if is_so else 'not protected'}", "nothing is to be done")
        does = f"{'Let go of' if params.off else 'Protect'} {name}"
        return Plan(
            task=self.name,
            target=f"{name} in {glance.store.where}",
            params={"point": str(name)},
            steps=(Step(id="protect", title=does, no_stop="it takes a moment"),),
            facts=(("point", str(name)), ("repository", glance.store.where)),
            undo="it is let go again" if not params.off else "it is protected again",
            state={"point": str(name), "protected": is_so},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield from self._turned(plan, off=plan.params.off)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield from self._turned(plan, off=not plan.params.off)

    def _turned(self, plan: Plan, *, off: bool) -> Events:
        yield StepStarted(step="protect")
        name = names.parse(plan.params.point)
        with Repository.glance(plan.params.repo) as glance:
            _turn(glance.store, name, plan.params.why, off=off)
        yield StepEnded(step="protect")
        yield Finished(
            summary=f"{name} {'goes by the rules of prune again' if off else 'stays until it is let go'}",
            result={"point": str(name), "protected": not off},
            then=() if off else (f"let it go: crashcart backup protect {name} --off",),
        )


def _turn(store: Store, name: names.PointName, why: str, *, off: bool) -> None:
    try:
        if off:
            with contextlib.suppress(FileNotFoundError):
                protected.end(store, name)
        else:
            protected.put(store, name, why)
    except OSError as error:
        raise no_room(store.where, error) from None
