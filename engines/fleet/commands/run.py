"""fleet run: one round in this process, from who is there to the upkeep of repositories."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from typing_extensions import override

from engines.backup.commands.lines import columns
from engines.fleet.commands.params import FleetParams, nobody
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.ledger.rows import GOOD
from engines.fleet.morning import looking, night, picture, telling
from engines.fleet.morning import page as pages
from engines.fleet.planning import agreed
from engines.fleet.planning.upkeep import unlocked
from engines.fleet.round import today
from engines.fleet.round.lease import Lease, alone
from engines.fleet.round.round import Round, Todo
from engines.fleet.round.today import Today
from engines.fleet.spread.hands import hands
from engines.fleet.spread.security import Outside, member
from engines.host.files import write_whole
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    Section,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Stopped
from engines.job.params import param, plain

PICTURE = "night.svg"


class RunParams(FleetParams, frozen=True, kw_only=True):
    """How much of it."""

    only: Annotated[str, param("Only", "guests of such names, like 'web*'; no upkeep then")] = ""
    now: Annotated[bool, param("Now", "at once, whatever windows say and whoever has a backup")] = False


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What a round did. Jobs by state; guests that have no backup, or not of every disk; hosts that were not seen."""

    round: str
    jobs: dict[str, int]
    bytes_stored: int
    uncovered: dict[str, str]
    silent: dict[str, str]


class Run(Engine[RunParams]):
    """`crashcart fleet run`."""

    name: ClassVar[str] = "fleet"
    verb: ClassVar[str] = "run"
    title: ClassVar[str] = "one round: back up every guest whose turn it is"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[Any]] = Ran
    irreversible: ClassVar[str] = "points are taken out one by one: crashcart backup prune --drop POINT"
    params = RunParams

    @override
    def target(self, params: RunParams) -> str:
        return f"fleet {place(params.read()).resolve()}"

    @override
    def plan(self, params: RunParams, cancel: Cancel) -> Plan:
        fleet = params.read()
        if fleet.cluster:
            with suppress(Outside):  # jobs are followed from here, and it is told
                member(fleet)
        backups = Step(id="backups", title="Back up every guest whose turn it is")
        upkeep = Step(id="upkeep", title="Prune, collect, verify a share, and prove")
        morning = Step(id="morning", title="Look how all stand, write the night's page, tell whom alerts name")
        return Plan(
            task=self.name,
            target=f"fleet of {params.fleet}",
            params=plain(params),
            steps=(backups,) if params.only else (backups, upkeep, morning),
            facts=(
                ("hosts", ", ".join(fleet.hosts)),
                ("repositories", ", ".join(fleet.repositories)),
                ("who and when", f"crashcart fleet plan --fleet {params.fleet}"),
            ),
            state={"fleet": hashlib.sha256(Path(params.fleet).read_bytes()).hexdigest()},
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        params: RunParams = plan.params
        fleet = params.read()
        with Ledger(place(fleet)) as ledger, alone(fleet) as lease:
            doing = Doing(fleet, ledger, context.cancel, lease)
            yield StepStarted(step="backups")
            found = today.look(fleet, ledger, time.time())
            sections: tuple[Section, ...] = ()
            yield from _odd(fleet, found)
            if missing := nobody(params.only, [one.name for one in ledger.guests()]):
                yield Warned(text=str(missing))
            now = time.time()
            round_ = doing.round(again=lambda: _again(fleet, ledger, params, now))
            round_.add(*_todo(fleet, ledger, found, params, now))
            if not round_.todo and not found.agreed.trouble:
                yield Log(text=_next(found))
            yield from _done(round_, doing)
            yield StepEnded(step="backups")
            if not params.only:
                yield StepStarted(step="upkeep")
                after = doing.round()
                unknown = found.agreed.trouble or agreed.known(fleet, ledger, time.time()).trouble
                if unknown and not found.agreed.trouble:  # what was so from the beginning is told already
                    yield Warned(text=f"{unknown}: nobody is pruned, verified or proven in this round")
                after.add(*(() if unknown else today.care(fleet, found, ledger, time.time())))
                yield from _done(after, doing)
                round_.todo |= after.todo
                yield StepEnded(step="upkeep")
                yield StepStarted(step="morning")
                whole = not unknown and all(one.job.state in GOOD for one in round_.todo.values())
                try:
                    told = yield from _morning(fleet, ledger, whole=whole)
                    sections = _pictured(told, context.folder)
                except Failed as failed:  # of the ledger: the jobs are done all the same
                    yield Warned(text=f"nobody was told: {failed}")
                yield StepEnded(step="morning")
        yield _finished(found, list(round_.todo.values()), sections)


@dataclass
class Doing:
    """With what the jobs of a round are done."""

    fleet: Fleet
    ledger: Ledger
    cancel: Cancel
    lease: Lease | None

    def __post_init__(self) -> None:
        self._troubles: list[str] = []
        self._told: list[str] = []

    def round(self, again: Callable[[], Iterable[Todo]] = tuple) -> Round:
        """One pass; its jobs are followed by the cluster, where there is one."""
        made = Round(self.fleet, self.ledger, self.cancel, again=again)
        made.hands = lambda jobs: hands(self.fleet, jobs, self._troubles.append)
        if self.lease:
            made.check = self.lease.check
        return made

    def troubles(self) -> Iterator[AnyEvent]:
        """What the cluster did not do, each once."""
        new = [text for text in dict.fromkeys(self._troubles) if text not in self._told]
        self._told += new
        yield from (Warned(text=text) for text in new)


def _todo(fleet: Fleet, ledger: Ledger, found: Today, params: RunParams, now: float) -> list[Todo]:
    """What is due, with what an earlier controller left; only what runs where nobody knows what is held."""
    if found.agreed.trouble:
        left = today.taken_up(fleet, ledger, [], now, only="*")
        return [one for one in left if one.job.state == "running"]
    todo = today.due(fleet, found, now, at_once=params.now, only=params.only)
    return today.taken_up(fleet, ledger, todo, now, only=params.only)


def _again(fleet: Fleet, ledger: Ledger, params: RunParams, began: float) -> list[Todo]:
    """What a new look in mid-round adds; one that was asked for now is of one moment."""
    if params.now:
        return []
    now = time.time()
    found = today.look(fleet, ledger, now)
    return [] if found.agreed.trouble else today.due(fleet, found, now, only=params.only, began=began)


def _odd(fleet: Fleet, found: Today) -> Iterator[AnyEvent]:
    """What a round cannot reach."""
    for host, why in found.census.silent.items():
        yield Warned(text=f"host {host} was not seen, nor were its guests: {why}")
    for repository, why in found.covered.silent.items():
        yield Log(text=f"repository {repository} is not read from here, so the ledger says what is due: {why}")
    for hold in found.held:
        yield Warned(text=f"{hold.words} (see to it again: crashcart fleet release {hold.what}:{hold.name})")
    if found.agreed.trouble:
        yield Warned(text=f"{found.agreed.trouble}; nothing is begun until it can be read")
    for text in unlocked(fleet):
        yield Warned(text=f"{text} (say no lock for it, or name a bucket)")
    for one in found.uncovered:
        yield Warned(text=f"{one.guest.name} on {one.guest.host} has no whole backup: {one.why}")


def _next(found: Today) -> str:
    if not found.wanted:
        return "no guest is backed up here"
    first = min(found.wanted, key=lambda each: each.at)
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(first.at))
    return f"nothing is due; next is {first.name} at {at} (at once: --now)"


def _done(round_: Round, doing: Doing) -> Iterator[AnyEvent]:
    total = len(round_.todo)
    try:
        for number, one in enumerate(round_.work(), 1):
            yield from _told(one)
            yield from doing.troubles()
            yield Progress(done=number, total=total, unit="jobs")
    except Stopped:
        running = sum(one.job.state == "running" for one in round_.todo.values())
        left = f"{running} jobs go on on their hosts; the next `crashcart fleet run` follows them"
        raise Stopped((left,) if running else ()) from None


def _told(one: Todo) -> Iterator[AnyEvent]:
    job = one.job
    what = f"{job.kind} {job.vm or job.uuid} {job.repository}".replace("  ", " ")
    if job.state in ("done", "warned"):
        yield Log(text=f"{what} on {job.host}: {job.state}")
    else:
        helps = f" ({job.what_helps})" if job.what_helps else ""
        yield Warned(text=f"{what} on {job.host}: {job.state}: {job.why}{helps}")


def _morning(fleet: Fleet, ledger: Ledger, *, whole: bool) -> Generator[AnyEvent, None, night.Night]:
    """The night's page beside the ledger, and notices. whole: whether the round did all it had to.

    Raises Failed.
    """
    standing = looking.look(fleet, ledger, time.time(), ask=False)
    told = night.gather(fleet, ledger, standing)
    page = place(fleet).parent / "nights" / f"{told.name}.html"
    try:
        page.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(page, pages.page(told).encode())
        yield Log(text=f"the night: {page}")
    except OSError as error:
        yield Warned(text=f"the night's page {page} was not written: {error.strerror}")
    yield Log(text=night.headline(standing))
    yield from (Warned(text=words) for words in standing.emptied.values())
    whole = whole and not (standing.silent or standing.emptied or standing.unsure)
    try:
        for trouble in telling.tell(fleet, ledger, standing, told.name, whole=whole):
            yield Warned(text=trouble)
    except Failed as failed:
        yield Warned(text=f"nobody was told: {failed}")
    return told


def _pictured(told: night.Night, folder: Path | None) -> tuple[Section, ...]:
    """The night for the run's report: who stands how, and the picture, where the state disk has room for it."""
    stands = Section(title="How all stand", text="\n".join(columns(night.flat(told.standing.rows))))
    if folder is None or not told.jobs:
        return (stands,)
    try:
        write_whole(folder / PICTURE, picture.svg(told).encode())
    except OSError:
        return (stands,)
    return (stands, Section(title="The night", file=PICTURE))


def _guests(count: int) -> str:
    return "1 guest has" if count == 1 else f"{count} guests have"


def _finished(found: Today, todo: Sequence[Todo], sections: tuple[Section, ...]) -> Finished:
    states = Counter(one.job.state for one in todo)
    good = states["done"] + states["warned"]
    result = Ran(
        round=max((one.job.round for one in todo if one.job.kind == "backup"), default=""),
        jobs={str(state): count for state, count in states.items()},
        bytes_stored=sum(one.job.stored for one in todo),
        uncovered={one.guest.name: one.why for one in found.uncovered},
        silent=found.census.silent,
    )
    return Finished(
        summary=f"{good} of {len(todo)} jobs are done, {_guests(len(found.uncovered))} no whole backup",
        result=msgspec.to_builtins(result),
        sections=sections,
        then=("see how all stand: crashcart fleet status",),
    )
