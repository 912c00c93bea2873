"""backup copy: points in a second repository, under a key of its own and by rules of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.copy_rules import looked, ruled
from engines.backup.commands.keeping import KeepDaily, KeepMonthly, KeepWeekly, KeepYearly, rules_of
from engines.backup.commands.on_repository import place_id
from engines.backup.commands.passing import STEPS, Told, passed, taken_out
from engines.backup.commands.thinning import Thinned, put_back
from engines.backup.names import PointName
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, lacks_passphrase, where
from engines.backup.repository.unlocking import opened
from engines.backup.store import uplink
from engines.job.contract import (
    AnyEvent,
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Plan,
    StepStarted,
    Warned,
)
from engines.job.errors import Refused
from engines.job.params import Secret, param, plain

FROM = param("From", "the repository that has the points", kind="folder", positional=True)


class CopyParams(RepoParams, frozen=True, kw_only=True):
    """From where, to where, and which points.

    keep_…: the rules that hold there: what they keep is copied, and what they do not keep is taken out there.
    """

    repo: Annotated[str, FROM]
    to: Annotated[str, param("To", "a repository of its own kind, key and place", kind="folder", positional=True)]
    only: Annotated[
        tuple[str, ...], param("VM", "a VM or VM/DISK by its whole name; all without", positional=True)
    ] = ()
    to_key_file: Annotated[str, param("Key file there", "opens the other repository", kind="file")] = ""
    to_passphrase: Annotated[Secret | None, param("Passphrase there", "opens the other repository")] = None
    uplink: Annotated[
        str, param("Uplink", "how fast it is written there: 30M, none, or '07:00-22:00 30M, else none'", metavar="RATE")
    ] = "none"
    keep_last: Annotated[
        int, param("Keep last", "have this many newest points of each disk there", ge=0, le=100000)
    ] = 0
    keep_daily: KeepDaily = 0
    keep_weekly: KeepWeekly = 0
    keep_monthly: KeepMonthly = 0
    keep_yearly: KeepYearly = 0

    @override
    def asks(self) -> tuple[str, ...]:
        there = lacks_passphrase(where(_there(self)), self.to_key_file, self.to_passphrase)
        return (*super().asks(), *(("to_passphrase",) if there else ()))


class Copy(Engine[CopyParams]):
    """`crashcart backup copy`."""

    name: ClassVar[str] = "backup-copy"
    verb: ClassVar[str] = "copy"
    title: ClassVar[str] = "copy points to another repository"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Copied
    params = CopyParams

    @override
    def target(self, params: CopyParams) -> str:
        return f"backup copy {place_id(where(_there(params)))}"

    @override
    def plan(self, params: CopyParams, cancel: Cancel) -> Plan:
        uplink.parse(params.uplink)
        open_ = looked if rules_of(params) else _glanced
        with open_(params) as source, open_(_there(params)) as target:
            if source.config.id == target.config.id:
                raise Refused(f"{source.store.where} and {target.store.where} are one repository", "name another")
            known, there = _selected(source, params.only), set(target.names())
            found = ruled(source, target, known, params)
            new = [str(name) for name in found.brought if name not in there]
            go = [str(name) for name in found.go]
            return Plan(
                task=self.name,
                target=target.store.where,
                params={**plain(params), "repo": source.store.where, "to": target.store.where},
                steps=STEPS,
                changes=tuple(BytesChange(target=name, summary=f"goes from {target.store.where}") for name in go),
                facts=(
                    ("from", source.store.where),
                    ("to", target.store.where),
                    ("points", f"{len(found.brought)}, of which {len(new)} are not there yet"),
                    *((("taken out there by the rules", str(len(go))),) if rules_of(params) else ()),
                    ("locked there by", target.config.cipher),
                ),
                warnings=(*_leaks(source.config.cipher, target.config.cipher), *_thins(go), *found.warnings),
                undo="the points are taken out there again, what was thinned out there comes back until the next gc,"
                " and what came to be protected there is let go; what only they need goes with the gc",
                detail={"points": [str(name) for name in found.brought], "go": go},
                state={"from": source.config.id, "to": target.config.id, "new": new, "go": go},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="copy")
        params: CopyParams = plan.params
        with ExitStack() as open_:
            source = open_.enter_context((yield from opened(params, context)))
            other = RepoParams(repo=params.to, key_file=params.to_key_file)
            target = open_.enter_context((yield from opened(other, _secrets_there(context))))
            source.load()
            chosen = [names.parse(text) for text in plan.detail["points"]]
            told = Told(target.store.where, params.uplink, after=lambda: _after(source, target, plan, context))
            yield from passed(source, target, chosen, context, told)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        params: CopyParams = plan.params
        put_back(params.to, context)
        there = RepoParams(repo=params.to, key_file=params.to_key_file, passphrase=context.secrets.get("to_passphrase"))
        yield from taken_out(there, plan.detail["points"], context)


def _after(source: Repository, target: Repository, plan: Plan, context: Context) -> Iterator[AnyEvent]:
    """Take out there what the plan named, as far as the rules still say so now that both are open."""
    params: CopyParams = plan.params
    known = _selected(source, params.only)
    there = set(target.names())  # a run that was killed may have taken some out already
    planned = [name for name in map(names.parse, plan.detail["go"]) if name in there]
    still = set(ruled(source, target, known, params).go) if planned else set()
    for name in planned:
        if name not in still:
            yield Warned(text=f"{name} stays there: by what the points say of themselves, the rules keep it")
    thinned = Thinned(target, context.home, tuple(name for name in planned if name in still))
    yield from thinned.work(source, known)


def _thins(go: Sequence[str]) -> tuple[str, ...]:
    if not go:
        return ()
    return (f"{len(go)} points that the rules do not keep are taken out there, until the next gc for undo",)


def _glanced(params: RepoParams) -> NamesOnly:
    return Repository.glance(where(params))


def _there(params: CopyParams) -> RepoParams:
    return RepoParams(repo=params.to, key_file=params.to_key_file, passphrase=params.to_passphrase)


def _selected(source: NamesOnly, only: Sequence[str]) -> list[PointName]:
    """Raises Refused where one means nothing."""
    known = source.names()
    for text in only:
        if not any(names.selected(name, text) for name in known):
            helps = names.absent(known, text, source.store.where).what_helps
            raise Refused(f"{source.store.where} has no disk {text!r}", helps)
    return [name for name in known if not only or any(names.selected(name, text) for text in only)]


def _leaks(cipher: str, there: str) -> tuple[str, ...]:
    if cipher == "none" or there != "none":
        return ()
    return ("the other repository is NOT LOCKED: who can read it there reads what is locked here",)


def _secrets_there(context: Context) -> Context:
    given = context.secrets.get("to_passphrase")
    return dataclasses.replace(context, secrets={"passphrase": given} if given else {})
