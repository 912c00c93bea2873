"""backup copy: points in a second repository, under a key of its own and by rules of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.keeping import KeepDaily, KeepMonthly, KeepWeekly, KeepYearly, kept_in_both, rules_of
from engines.backup.commands.on_repository import place_id
from engines.backup.commands.passing import STEPS, Told, passed, taken_out
from engines.backup.commands.thinning import Thinned, put_back
from engines.backup.names import PointName
from engines.backup.repository import protected
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.repository.unlocking import opened
from engines.backup.store import uplink
from engines.job.contract import (
    Cancel,
    Context,
    Engine,
    Events,
    Plan,
    StepStarted,
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
        return f"backup copy {place_id(_there(params))}"

    @override
    def plan(self, params: CopyParams, cancel: Cancel) -> Plan:
        uplink.parse(params.uplink)
        with Repository.glance(where(params)) as source, Repository.glance(_there(params)) as target:
            if source.config.id == target.config.id:
                raise Refused(f"{source.store.where} and {target.store.where} are one repository", "name another")
            known, there = _selected(source, params.only), set(target.names())
            new = [name for name in known if name not in there]
            return Plan(
                task=self.name,
                target=target.store.where,
                params={**plain(params), "repo": source.store.where, "to": target.store.where},
                steps=STEPS,
                facts=(
                    ("from", source.store.where),
                    ("to", target.store.where),
                    ("points", f"{len(known)}, of which {len(new)} are not there yet"),
                    ("locked there by", target.config.cipher),
                ),
                warnings=(*_leaks(source.config.cipher, target.config.cipher), *_thins(params)),
                undo="the points are taken out there again, and what was thinned out there comes back until the next"
                " gc; what only they need goes with that",
                detail={"points": [str(name) for name in known]},
                state={"from": source.config.id, "to": target.config.id, "new": [str(name) for name in new]},
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
            known = [names.parse(text) for text in plan.detail["points"]]
            chosen, go = _ruled(source, target, known, params)
            thinned = Thinned(target, context.folder, context.earlier, tuple(go))
            told = Told(target.store.where, params.uplink, after=lambda: thinned.work(source, known))
            yield from passed(source, target, chosen, context, told)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        put_back(plan.params.to, context)
        yield from taken_out(plan.params.to, context)


def _ruled(
    source: Repository, target: Repository, known: list[PointName], params: CopyParams
) -> tuple[list[PointName], list[PointName]]:
    """What is copied, and what there goes: points of other disks than those that are copied are left alone."""
    if not rules_of(params):
        return known, []
    disks = {(name.vm, name.disk) for name in known}
    there = [name for name in target.names() if (name.vm, name.disk) in disks]
    stay = kept_in_both(source, target, known, there, params)
    stay |= protected.every(source) | protected.every(target)
    return [name for name in known if name in stay], [name for name in there if name not in stay]


def _thins(params: CopyParams) -> tuple[str, ...]:
    if not rules_of(params):
        return ()
    return ("points of these disks that the rules do not keep are taken out there, until the next gc for undo",)


def _there(params: CopyParams) -> str:
    return where(RepoParams(repo=params.to))


def _selected(source: NamesOnly, only: Sequence[str]) -> list[PointName]:
    """Raises Refused where one means nothing."""
    known = source.names()
    for text in only:
        if not any(names.selected(name, text) for name in known):
            raise Refused(f"{source.store.where} has no disk {text!r}", "see those: crashcart backup list")
    return [name for name in known if not only or any(names.selected(name, text) for text in only)]


def _leaks(cipher: str, there: str) -> tuple[str, ...]:
    if cipher == "none" or there != "none":
        return ()
    return ("the other repository is NOT LOCKED: who can read it there reads what is locked here",)


def _secrets_there(context: Context) -> Context:
    given = context.secrets.get("to_passphrase")
    return dataclasses.replace(context, secrets={"passphrase": given} if given else {})
