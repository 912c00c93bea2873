"""fleet hold and release: a guest, host or repository that rounds leave alone, and that they see to again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from typing_extensions import override

from engines.fleet.commands.params import FleetParams
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.holds import Hold
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.planning import agreed
from engines.job.contract import Cancel, Context, Engine, Events, Finished, Plan, Step, StepEnded, StepStarted
from engines.job.errors import Failed, Refused
from engines.job.params import param, plain

P = TypeVar("P", bound="NameParams")


class NameParams(FleetParams, frozen=True, kw_only=True):
    """What is meant."""

    name: Annotated[
        str,
        param(
            "Name",
            "of a guest, host or repository; guest:NAME, host:NAME or repository:NAME where several are called so",
            positional=True,
        ),
    ]


class HoldParams(NameParams, frozen=True, kw_only=True):
    """And why."""

    why: Annotated[str, param("Why", "for whoever reads the morning's report", metavar="TEXT")]


class NowHeld(msgspec.Struct, frozen=True, kw_only=True):
    """What is held now, in words."""

    held: list[str]


class OnHolds(Engine[P]):
    """A change of one hold, which `undo` puts back as it was; what others hold or released since stays so."""

    name: ClassVar[str] = ""
    kind: ClassVar[str] = "work"
    result: ClassVar[type[Any]] = NowHeld

    @override
    def target(self, params: P) -> str:
        return f"fleet holds {place(params.read()).resolve()}"

    def planned(self, params: P, meant: tuple[str, str, str], title: str, undo: str) -> Plan:
        """meant: what, id and name."""
        what, id_, name = meant
        return Plan(
            task=self.name,
            target=f"{what} {name}",
            params=plain(params),
            steps=(Step(id="note", title=title, no_stop="a line is being written"),),
            facts=(("what", what), ("name", name), ("id", id_)),
            undo=undo,
            state={"meant": list(meant), "before": [msgspec.to_builtins(hold) for hold in _known(params.read())]},
        ).sealed()

    def noted(self, plan: Plan, how: agreed.Change, summary: str) -> Events:
        """Write what `how` makes of them."""
        yield StepStarted(step="note")
        fleet = plan.params.read()
        with Ledger(place(fleet)) as ledger:
            after = agreed.change(fleet, ledger, how, time.time())
        yield StepEnded(step="note")
        yield Finished(summary=summary, result={"held": [hold.words for hold in after]})

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        what, id_, name = plan.state["meant"]
        now = _known(plan.params.read())
        mine = [hold for hold in now if (hold.what, hold.id) == (what, id_)]
        before = [
            hold for hold in msgspec.convert(plan.state["before"], list[Hold]) if (hold.what, hold.id) == (what, id_)
        ]
        if any(not self.wrote(plan, hold) for hold in mine):
            yield from self.noted(plan, list, f"{what} {name} is held by somebody else since, and stays so")
            return

        def back(held: list[Hold]) -> list[Hold]:
            return sorted([*_without(held, what, id_), *before], key=lambda hold: hold.since)

        yield from self.noted(plan, back, f"{what} {name} is {'held' if before else 'not held'}, as it was before")

    def wrote(self, plan: Plan, hold: Hold) -> bool:
        """Whether it is this task's, and no other's since."""
        del plan, hold
        return False


class HoldIt(OnHolds[HoldParams]):
    """`crashcart fleet hold`."""

    name: ClassVar[str] = "fleet-hold"
    verb: ClassVar[str] = "hold"
    title: ClassVar[str] = "have rounds leave a guest, host or repository alone: no backup, prune, gc or proof"
    params = HoldParams

    @override
    def plan(self, params: HoldParams, cancel: Cancel) -> Plan:
        if not params.why.strip():
            raise Refused("a hold needs a reason", "give --why TEXT: the morning's report shows it")
        meant = _meant(params)
        title = f"Leave {meant[0]} {meant[2]} alone until it is released; what runs now goes on"
        return self.planned(params, meant, title, "it is released")

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        what, id_, name = plan.state["meant"]
        hold = Hold(what=what, id=id_, name=name, why=plan.params.why.strip(), since=time.time())
        yield from self.noted(plan, lambda held: [*_without(held, what, id_), hold], hold.words)

    @override
    def wrote(self, plan: Plan, hold: Hold) -> bool:
        return hold.why == str(plan.params.why).strip()


class Release(OnHolds[NameParams]):
    """`crashcart fleet release`."""

    name: ClassVar[str] = "fleet-release"
    verb: ClassVar[str] = "release"
    title: ClassVar[str] = "have rounds see to a guest, host or repository again"
    params = NameParams

    @override
    def plan(self, params: NameParams, cancel: Cancel) -> Plan:
        known = _known(params.read())
        what, _, name = params.name.rpartition(":")
        found = [hold for hold in known if name in (hold.name, hold.id) and what in ("", hold.what)]
        if len(found) != 1:
            held = "; ".join(hold.words for hold in known) or "nothing is"
            raise Refused(f"{params.name} is not held, or not alone in its name", f"name what is held: {held}")
        hold = found[0]
        meant = (hold.what, hold.id, hold.name)
        return self.planned(params, meant, f"See to {hold.what} {hold.name} again from the next round on", "it is held")

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        what, id_, name = plan.state["meant"]
        yield from self.noted(plan, lambda held: _without(held, what, id_), f"{what} {name} is released")


def _known(fleet: Fleet) -> list[Hold]:
    """As all controllers know them; a look makes no ledger. Raises Failed where their store does not answer."""
    try:
        return agreed.looked_up(fleet)
    except OSError as error:
        raise Failed(f"what is held cannot be read: {error.strerror or error}", "see: crashcart fleet check") from None


def _without(held: list[Hold], what: str, id_: str) -> list[Hold]:
    return [hold for hold in held if (hold.what, hold.id) != (what, id_)]


def _meant(params: NameParams) -> tuple[str, str, str]:
    """What, id and name. Raises Refused where nothing, or several, are called so."""
    fleet = params.read()
    what, _, name = params.name.rpartition(":")
    found = [each for each in _named(fleet, name) if what in ("", each[0])]
    if not found:
        raise Refused(f"nothing is called {params.name}", "see who is there: crashcart fleet guests")
    if len(found) > 1:
        several = ", ".join(f"{kind} {id_}" for kind, id_, _ in found)
        raise Refused(f"{params.name} may be {several}", "name it like host:NAME, or a guest by its UUID")
    return found[0]


def _named(fleet: Fleet, name: str) -> Iterator[tuple[str, str, str]]:
    if name in fleet.hosts:
        yield "host", name, name
    if name in fleet.repositories:
        yield "repository", name, name
    path = place(fleet)
    if path.exists():
        with Ledger(path) as ledger:
            yield from (("guest", one.uuid, one.name) for one in ledger.guests() if name in (one.name, one.uuid))
