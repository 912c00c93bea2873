"""backup serve: a restore point as a read-only disk at a unix socket, for qemu, nbd-client and nbdcopy."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.nbd.server import NbdServer, refuse_unfit
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.repository import WHICH_POINT, NamesOnly, RepoParams
from engines.backup.repository.unlocking import opened
from engines.job import units
from engines.job.contract import (
    Cancel,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Section,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import BadParam, Stopped
from engines.job.params import param

TICK = 2.0  # s between looks at the clients
TOLD = 20  # places that cannot be read, named one by one
SERVE = Step(id="serve", title="Serve the point until it is stopped")


class ServeParams(RepoParams, frozen=True, kw_only=True):
    """Which point, and where."""

    point: Annotated[str, WHICH_POINT]
    nbd: Annotated[str, param("Socket", "a unix socket to make; only its owner gets in", kind="output")]
    idle: Annotated[
        int, param("Idle", "seconds without a client after which it ends by itself; 0 for never", ge=0, le=86400)
    ] = 0


class Serve(OnRepository[ServeParams]):
    """`crashcart backup serve`."""

    name: ClassVar[str] = "backup-serve"
    verb: ClassVar[str] = "serve"
    title: ClassVar[str] = "serve a restore point as a read-only disk, over NBD"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Served
    irreversible: ClassVar[str] = "serving changes nothing that could be taken back; the socket goes with the run"
    params = ServeParams

    @override
    def target(self, params: ServeParams) -> str:
        return f"backup serve {params.nbd}"

    @override
    def plan(self, params: ServeParams, cancel: Cancel) -> Plan:
        if not params.nbd:
            raise BadParam("nbd", params.nbd, "a path for a unix socket", "give --nbd /run/point.sock")
        return super().plan(params, cancel)

    @override
    def plan_on(self, glance: NamesOnly, params: ServeParams, cancel: Cancel) -> Plan:
        point = glance.resolve(params.point)
        refuse_unfit(Path(params.nbd))
        return Plan(
            task=self.name,
            target=f"{point} at {params.nbd}",
            params={"point": str(point)},
            steps=(SERVE,),
            facts=(("point", str(point)), ("address", uri(params.nbd)), ("repository", glance.store.where)),
            undo="nothing to take back: the point is only read, and the socket goes with the run",
            state={"repository": glance.config.id, "point": str(point)},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step=SERVE.id)
        with (yield from opened(plan.params, context)) as repository:
            name = names.parse(plan.params.point)
            with open_point(repository, name, "serving") as source:
                server = NbdServer(source, Path(plan.params.nbd), name=str(name), description=f"{name}, read-only")
                with server:
                    yield Log(text=f"{name}, {units.size(source.size)}, read-only at {uri(plan.params.nbd)}")
                    with suppress(Stopped):  # that is how serving ends
                        yield from _until_idle(server, plan.params.idle, context.cancel)
            with suppress(Stopped):  # a stop is told once more, to whoever has not heard of it
                yield StepEnded(step=SERVE.id)
            yield _finished(server, name, repository.store.where)


def uri(path: str) -> str:
    """What clients are given."""
    return f"nbd+unix:///?socket={path}"


def _until_idle(server: NbdServer, idle: int, cancel: Cancel) -> Iterator[Warned]:
    """Faults as they are met. Raises Stopped."""
    since, told = time.monotonic(), 0
    while not idle or time.monotonic() - since < idle:
        cancel.sleep(min(TICK, idle) if idle else TICK)
        if server.connected:
            since = time.monotonic()
        new, told = server.faulty - told, server.faulty
        for fault in server.faults[max(len(server.faults) - new, 0) :][:TOLD]:
            yield Warned(text=f"{fault.length} bytes at {fault.offset} were not served: {fault.why}")


def _finished(server: NbdServer, name: names.PointName, repo: str) -> Finished:
    faults = "\n".join(f"{fault.length} bytes at {fault.offset}: {fault.why}" for fault in server.faults)
    refused = "\n".join(server.turned_away)
    sections = [Section(title="Bytes that were not served", text=faults)] if faults else []
    sections += [Section(title="Clients that were hung up on", text=refused)] if refused else []
    return Finished(
        summary=f"{units.size(server.bytes)} of {name} served to {server.clients} clients, {server.faulty} errors",
        result={
            "bytes": server.bytes,
            "clients": server.clients,
            "errors": server.faulty,
            "turned_away": len(server.turned_away),
        },
        sections=tuple(sections),
        then=(f"see what is damaged: crashcart backup verify --repo {shlex.quote(repo)}",) if server.faulty else (),
    )
