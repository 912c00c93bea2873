"""backup verify: prove the repository, name what is hit, and take it out of use until a backup heals it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Annotated, Any, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import no_room
from engines.backup.pages.workers import Workers
from engines.backup.repository import config, verified
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.restoring.against import Against
from engines.backup.sources.opening import open_source
from engines.backup.sources.source import Format
from engines.backup.store import uplink
from engines.backup.store.tar import TarStore
from engines.backup.store.uplink import Uplink
from engines.backup.upkeep.records import Records
from engines.backup.upkeep.verifying import Verifying, rebuild
from engines.job import units
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Events,
    Finished,
    Log,
    Measured,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import param

TOLD = 20  # damaged records that are told one by one


class VerifyParams(RepoParams, frozen=True, kw_only=True):
    """How much."""

    percent: Annotated[
        int, param("Percent", "share of the records to read; points are always checked", ge=1, le=100)
    ] = 100
    against: Annotated[str, param("Against", "a disk to compare the point with", kind="file")] = ""
    point: Annotated[
        str, param("Point", "which point to compare", pattern=f"^$|{names.POINT}", allowed="VM/DISK@TIME or @latest")
    ] = ""
    format: Annotated[Format, param("Image format", "of the disk to compare with")] = "auto"
    uplink: Annotated[
        str, param("Uplink", "how fast it is read: 30M, none, or '07:00-22:00 30M, else none'", metavar="RATE")
    ] = "none"
    rebuild: Annotated[bool, param("Rebuild", "make the index anew and bring back lost points, from the packs")] = False


class Verify(OnRepository[VerifyParams]):
    """`crashcart backup verify`."""

    name: ClassVar[str] = "backup-verify"
    verb: ClassVar[str] = "verify"
    title: ClassVar[str] = "prove that the repository is whole"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Verified
    irreversible: ClassVar[str] = "verify changes nothing that could be taken back; a new backup heals what is damaged"
    params = VerifyParams

    @override
    def target(self, params: VerifyParams) -> str:
        return f"backup verify {where(params)} {params.point}"

    @override
    def plan_on(self, glance: NamesOnly, params: VerifyParams, cancel: Cancel) -> Plan:
        uplink.parse(params.uplink)
        state: dict[str, Any] = {"repository": glance.config.id}
        if bool(params.against) != bool(params.point):
            raise BadParam("point", params.point, "a point, together with --against DISK", "give both")
        steps = [Step(id="records", title=f"Read {params.percent} % of the records")]
        steps += [Step(id="points", title="Check that every point finds what it needs")]
        point = ""
        if params.against:
            point = str(glance.resolve(params.point))
            with open_source(params.against, params.format) as source:
                state["source"] = source.identity
            steps = [Step(id="against", title=f"Compare {point} with {params.against}")]
        elif params.rebuild:
            steps = [Step(id="rebuild", title="Make index and points anew from the packs"), *steps]
        return Plan(
            task=self.name,
            target=f"{glance.store.where} {point}".rstrip(),
            params={"point": point},
            steps=tuple(steps),
            facts=(("repository", glance.store.where), ("points", str(len(glance.names())))),
            undo="nothing to take back: it only reads, and names what is damaged",
            state=state,
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step=plan.steps[0].id)
        with (yield from opened(plan.params, context)) as repository:
            pins = (names.parse(plan.params.point).path(),) if plan.params.point else ()
            with Presence(repository.store, "read", f"verify of {repository.store.where}", pins=pins) as presence:
                repository.load()
                try:
                    if plan.params.against:
                        finished = yield from _compared(repository, plan, presence)
                    else:
                        held = Uplink(uplink.parse(plan.params.uplink), context.cancel.sleep)
                        finished = yield from _rebuilt_and_proven(repository, plan, presence, held)
                except OSError as error:
                    raise no_room(repository.store.where, error) from None
            yield finished


def _compared(repository: Repository, plan: Plan, presence: Presence) -> Any:
    name = names.parse(plan.params.point)
    point = repository.present(name)
    with open_source(plan.params.against, plan.params.format) as source:
        against = Against(repository, point, source)
        yield from _through(against.comparing(), against, presence)
    yield StepEnded(step="against")
    if against.differ:
        raise Failed(
            f"{len(against.differ)} blocks differ, first at byte {min(against.differ) * point.head.block}",
            "that is right where the disk was written to since; else verify, and back up again",
        )
    return Finished(summary=f"{name} is what {plan.params.against} holds", result={"differ": 0})


Reading = Callable[[Verifying, Presence], Generator[AnyEvent, Any, None]]


def _reading(repository: Repository, percent: int, held: Uplink) -> Reading:
    """In this process."""

    def read(verifying: Verifying, presence: Presence) -> Generator[AnyEvent, Any, None]:
        records = Records(repository, percent, verifying.packs, held)
        yield from _through(records.reading(), records, presence)
        verifying.take(records.findings)

    return read


def _rebuilt_and_proven(repository: Repository, plan: Plan, presence: Presence, held: Uplink) -> Any:
    if plan.params.rebuild:
        for name in rebuild(repository):
            yield Log(text=f"{name} is back")
        yield StepEnded(step="rebuild")
        yield StepStarted(step="records")
    percent = plan.params.percent
    return (yield from proven(repository, presence, percent, _reading(repository, percent, held)))


def proven(
    repository: Repository, presence: Presence, percent: int, read: Reading
) -> Generator[AnyEvent, Any, Finished]:
    """The steps `records`, which the caller began, and `points`. read: has the packs read. Raises Failed if damaged."""
    began = time.time()
    verifying = Verifying(repository)
    verifying.found.faults |= dict.fromkeys(config.mend(repository.store, repository.config))
    verifying.index()
    verifying.positions()
    yield from read(verifying, presence)
    yield StepEnded(step="records")
    yield StepStarted(step="points")
    verifying.quarantine()
    count = len(repository.names())
    for done in verifying.points():
        presence.touch()
        yield Progress(done=min(done, count), total=count, unit="points")
    verifying.quarantine()
    yield StepEnded(step="points")
    found = verifying.found
    for fault in found.faults:
        yield Warned(text=fault)
    for _, why in found.bad[:TOLD]:
        yield Warned(text=why)
    if verifying.unwritten and (found.bad or found.mended):
        yield Warned(text=f"what is damaged could not be taken out of use: {verifying.unwritten}")
    for text in found.mended:
        yield Log(text=f"{text} was in quarantine and reads right again: it is used again")
    for point, why in found.hit.items():
        yield Warned(text=f"{point} is damaged: {why}")
    if percent == 100:
        try:
            verified.put(repository.store, began, tuple(found.whole))
        except (OSError, Refused) as error:
            why = error.why if isinstance(error, Refused) else error.strerror or str(error)
            said = f"that they were verified cannot be noted in the repository: {why}"
            yield Log(text=said) if isinstance(repository.store, TarStore) else Warned(text=said)
    return (yield from _verdict(verifying))


def _verdict(verifying: Verifying) -> Generator[AnyEvent, Any, Finished]:
    """The last word; a repository that is damaged makes the run fail. Raises Failed."""
    found = verifying.found
    wrong = len(found.bad) + len(found.faults)
    result = {
        "read": verifying.read,
        "bad": len(found.bad),
        "faults": list(found.faults),
        "hit": sorted(found.hit),
        "whole": len(found.whole),
    }
    if not wrong and not found.hit:
        return Finished(summary=f"{units.size(verifying.read)} read, {len(found.whole)} points whole", result=result)
    yield Measured(kind="verify", data=result)
    heal = ["back the disks up again: blocks that are still the same are stored anew"] if found.hit or found.bad else []
    frames = ["write broken packs anew: crashcart backup gc"] if found.faults else []
    raise Failed(
        f"DAMAGED: {len(found.bad)} records, {len(found.faults)} files; {len(found.hit)} points are hit",
        "; ".join(heal + frames),
    )


def _through(crew: Workers[Any], work: Records | Against, presence: Presence) -> Iterator[Progress]:
    with closing(crew.ticks()) as ticks:
        for _ in ticks:
            presence.touch()
            yield Progress(done=min(work.passed, work.total), total=work.total)
    yield Progress(done=work.total, total=work.total)
