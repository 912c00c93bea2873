"""A port that is down with ISL DOWN is brought up by one of two ways, and taken back."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from engines.job.contract import Cancel, Context, Engine, Events, Plan
from engines.job.errors import Refused
from engines.vdx.fix.by_edge import ByEdge
from engines.vdx.fix.by_vcsid import ByVcsid
from engines.vdx.fix.fix_run import FixRun
from engines.vdx.judging import planning
from engines.vdx.results import Fixed
from engines.vdx.switch.params import FixParams


class Fix(Engine[FixParams]):
    """The fix: a vcsid of its own for one switch, or no neighbour discovery on both ports."""

    name: ClassVar[str] = "vdx"
    verb: ClassVar[str] = "fix"
    title: ClassVar[str] = "bring up a port that is down with ISL DOWN, and change no more"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[Fixed]] = Fixed
    params = FixParams
    # Under the lock, execute's first two steps look again at all that the plan depends on, over the sessions it needs
    # anyway; planning anew would cost two more logins at each switch.
    holds: ClassVar[bool] = True

    @override
    def target(self, params: FixParams) -> str:
        """The switch named first, or the one chosen to change; the run locks the other end as well."""
        where = params.mate_where() if params.change == "mate" and params.mate else params.where()
        return where.identity

    @override
    def plan(self, params: FixParams, cancel: Cancel) -> Plan:
        """Log in to both and look. Raises Refused."""
        return planning.plan(params, cancel)

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        """Do exactly the plan."""
        ground = FixRun(plan, context)
        way = _way(ground)
        return ground.guarded(way.execute(), way.left)

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Go on where the earlier run was cut; the switch itself says how far it came."""
        ground = FixRun(plan, context)
        way = _way(ground)
        if context.earlier is None:
            raise Refused("no earlier run is named", "name it: crashcart resume RUN")
        return ground.guarded(way.resume(context.earlier), way.left)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        """The old vcsid again (another reboot), or neighbour discovery on again."""
        ground = FixRun(plan, context)
        if context.earlier is None:
            raise Refused("no earlier run is named", "name it: crashcart undo RUN")
        old = ground.detail.changed.vcsid
        way = _way(ground) if old is None else _way(ground, undo_to=old)
        return ground.guarded(way.undo(context.earlier), way.left)


def _way(ground: FixRun, undo_to: int = 0) -> ByVcsid | ByEdge:
    if ground.detail.method == "edge-port":
        return ByEdge(ground, on=not undo_to)
    return ByVcsid(ground, undo_to or ground.detail.new, undoing=bool(undo_to))
