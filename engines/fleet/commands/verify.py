"""fleet verify: a repository proven whole, its packs read by all workers of the cluster, or by this process alone."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Annotated, Any, ClassVar

from typing_extensions import override

from engines.backup import results
from engines.backup.commands.verify import proven
from engines.backup.errors import no_room
from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.repository.sessions import Presence
from engines.backup.upkeep.verifying import Verifying
from engines.fleet.commands.params import FleetParams
from engines.fleet.config.model import Cluster, Fleet
from engines.fleet.planning import jobs
from engines.fleet.round.limits import Limits
from engines.fleet.spread.line import Line
from engines.fleet.spread.reading import Spread, alone
from engines.fleet.spread.resources import SHARE
from engines.fleet.spread.security import Outside, member
from engines.job.contract import AnyEvent, Cancel, Context, Engine, Events, Finished, Plan, Step, StepStarted, Warned
from engines.job.errors import BadParam, Failed
from engines.job.jobfile import open_secrets
from engines.job.params import convert, param, plain


class VerifyParams(FleetParams, frozen=True, kw_only=True):
    """Which, and how much."""

    repository: Annotated[str, param("Repository", "its name in fleet.yaml", positional=True)]
    percent: Annotated[
        int, param("Percent", "share of the records to read; points are always checked", ge=1, le=100)
    ] = 100


class Verify(Engine[VerifyParams]):
    """`crashcart fleet verify`."""

    name: ClassVar[str] = "fleet-verify"
    verb: ClassVar[str] = "verify"
    title: ClassVar[str] = "prove that a repository is whole, its packs read by all workers"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Verified
    irreversible: ClassVar[str] = "verify changes nothing that could be taken back; a new backup heals what is damaged"
    params = VerifyParams

    @override
    def target(self, params: VerifyParams) -> str:
        return f"fleet verify {_url(params.read(), params)}"

    @override
    def plan(self, params: VerifyParams, cancel: Cancel) -> Plan:
        fleet = params.read()
        url = _url(fleet, params)
        cluster = _cluster(fleet, url)
        if cluster:
            try:
                member(fleet)
            except Outside:  # it is read here, and told
                cluster = None
        with Repository.glance(url) as glance:
            points, id_ = len(glance.names()), glance.config.id
        return Plan(
            task=self.name,
            target=url,
            params=plain(params),
            steps=(
                Step(id="records", title=f"Read {params.percent} % of the records"),
                Step(id="points", title="Check that every point finds what it needs"),
            ),
            facts=(
                ("repository", url),
                ("points", str(points)),
                ("read by", f"the workers of {cluster.scheduler}" if cluster else "this process"),
            ),
            undo="nothing to take back: it only reads, and names what is damaged",
            state={"repository": id_},
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        params: VerifyParams = plan.params
        fleet = params.read()
        opening = jobs.opening(fleet.repositories[params.repository])
        yield StepStarted(step="records")
        with Repository.of(convert(RepoParams, open_secrets(RepoParams, opening))) as repository:
            where = repository.store.where
            with Presence(repository.store, "read", f"verify of {where}") as presence:
                repository.load()
                try:
                    finished = yield from _spread(fleet, params, repository, presence, context.cancel, opening)
                except OSError as error:
                    raise no_room(where, error) from None
        yield finished


def _spread(
    fleet: Fleet,
    params: VerifyParams,
    repository: Repository,
    presence: Presence,
    cancel: Cancel,
    opening: Mapping[str, str],
) -> Generator[AnyEvent, Any, Finished]:
    """The same verdict, whoever reads."""

    def read(verifying: Verifying, presence: Presence) -> Generator[AnyEvent, Any, None]:
        line = None
        if _cluster(fleet, to.url):
            try:
                line = Line(fleet)
            except (Failed, Outside) as failed:
                yield Warned(text=f"{failed}; all of it is read here")
        if line is None:
            yield from alone(repository, params.percent, verifying, presence, cancel, rate)
            return
        limits = Limits(fleet)
        needs, slots = (SHARE, *limits.stores(params.repository)), limits.readers(params.repository)
        spread = Spread(repository, opening, params.percent, line, cancel, needs, slots, rate)
        with line:
            yield from spread.read(verifying, presence)

    to = fleet.repositories[params.repository]
    rate = jobs.rate(fleet, to)
    return (yield from proven(repository, presence, params.percent, read))


def _cluster(fleet: Fleet, url: str) -> Cluster | None:
    """Whose workers read it; none a folder, which may be another one where they are."""
    return fleet.cluster if "://" in url else None


def _url(fleet: Fleet, params: VerifyParams) -> str:
    if params.repository not in fleet.repositories:
        raise BadParam("repository", params.repository, "one of " + ", ".join(fleet.repositories))
    return fleet.repositories[params.repository].url
