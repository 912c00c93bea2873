"""The fix without a reboot: neighbour discovery off on both ports, so that they come up as edge ports."""

from __future__ import annotations

import functools
from pathlib import Path

from engines.job.contract import Events, Finished, Log
from engines.job.errors import Failed, Refused
from engines.vdx.fix.fix_run import FixRun
from engines.vdx.fix.progress import furthest, load
from engines.vdx.judging import planning
from engines.vdx.judging.planning import Side
from engines.vdx.line.session import Session, complaint

ADVICE = "Give every fabric a vcsid of its own when it is commissioned; then no port needs this."


class ByEdge:
    """One run of it; `on` is False where a run is taken back."""

    def __init__(self, ground: FixRun, *, on: bool = True) -> None:
        self.ground = ground
        self.on = on
        assert ground.detail.other is not None
        self.sides = (ground.detail.changed, ground.detail.other)

    def execute(self) -> Events:
        """From the first step; every one of them may be repeated."""
        yield from self.ground.step("connect", self._connect())
        yield from self.ground.step("backup", self._backup())
        yield from self._edge_on()

    def resume(self, earlier: Path) -> Events:
        """Like `execute`, but with the copies of before, where both are there."""
        found = load(furthest(earlier))
        if found is None or not found.edged:
            yield from self.execute()
            return
        self.ground.progress.edged = found.edged
        yield from self._edge_on()

    def undo(self, earlier: Path) -> Events:
        """Neighbour discovery on again, wherever it was turned off."""
        found = load(furthest(earlier))
        if found is None or not found.edged:
            raise Refused(f"run {earlier.name} changed nothing", "there is nothing to take back")
        self.sides = tuple(side for side in self.sides if side.label in found.edged)  # type: ignore[assignment]  # one or two
        yield from self.ground.step("edge", self._edge())
        yield from self.ground.step("save", self._save())
        yield Finished(summary="neighbour discovery is on again at both ports", result={"taken_back": found.edged})

    def left(self) -> tuple[str, ...]:
        """What a run that ends now leaves behind."""
        if self.ground.progress.reached("verified"):
            return ()
        state = "off" if self.on else "on"
        return tuple(f"{name}: neighbour discovery is {state} at its port" for name in self.ground.progress.edged)

    def _connect(self) -> Events:
        self.ground.reach_phase("begun")
        for side in self.sides:
            yield from self.ground.unchanged(side)

    def _backup(self) -> Events:
        detail = self.ground.detail
        for side in self.sides:
            first = side is detail.changed
            yield from self.ground.take_backup(side, detail.ports if first else [], detail.digest if first else "")
        self.ground.reach_phase("backed-up")

    def _edge_on(self) -> Events:
        yield from self.ground.step("edge", self._edge())
        yield from self.ground.step("save", self._save())
        yield from self.ground.step("verify", self._verify())
        yield Finished(
            summary="both ends are up; nothing rebooted",
            result={
                "edge_ports": [f"{side.label} {side.interface}" for side in self.sides],
                "weak_crypto": sorted(self.ground.weak),
                "host_keys": [f"{where}: {key}" for where, key in self.ground.host_keys.items()],
            },
            then=(ADVICE,),
        )

    def _edge(self) -> Events:
        for side in self.sides:
            if side.label not in self.ground.progress.edged:
                self.ground.progress.edged.append(side.label)
            self.ground.reach_phase("backed-up")
            yield from self.ground.ask(side.which, functools.partial(self._type, side))
            yield Log(text=f"{side.label}: {'; '.join(planning.edge_commands(side.interface, on=self.on))}")

    def _type(self, side: Side, session: Session) -> None:
        for command in planning.edge_commands(side.interface, on=self.on):
            if problem := complaint(session.run(command).text, session.patterns):
                session.run("end")
                raise Failed(
                    f"{side.label} refuses {command!r} ({problem})",
                    "use --method vcsid; what was done: crashcart undo",
                )

    def _save(self) -> Events:
        for side in self.sides:
            yield from self.ground.save(side)
        self.ground.reach_phase("saved")

    def _verify(self) -> Events:
        ends = []
        for side in self.sides:
            ends.append((yield from self.ground.end(side)))
        price = "The way back is crashcart undo: neighbour discovery on again at both ports, without a reboot"
        yield from self.ground.watch(ends, price)
        self.ground.reach_phase("verified")
