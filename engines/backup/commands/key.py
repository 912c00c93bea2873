"""backup key: several ways into one repository, one added, taken out or put in another's place; a sheet of paper."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from typing import Annotated, ClassVar, TypeVar

import msgspec
from typing_extensions import override

from engines.backup import results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.errors import no_room
from engines.backup.repository import config
from engines.backup.repository.config import Config
from engines.backup.repository.keys import Unlock, demand_one
from engines.backup.repository.repository import NamesOnly, RepoParams
from engines.backup.repository.unlocking import passphrase_of
from engines.backup.repository.ways import NAME, Way
from engines.backup.store.opening import open_store
from engines.job.contract import (
    AnyEvent,
    Asked,
    BytesChange,
    Cancel,
    Context,
    Events,
    Finished,
    Plan,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret, param

COPIED = (
    "the secret of the repository stays the same: who copied config.json before, and has a key of then, can still read"
    " what is stored; where that must not be, copy the points to a new repository: crashcart backup copy"
)
WAY = param(
    "Key", "its name: crashcart backup key list", pattern=NAME, allowed="letters, digits, . _ and -", positional=True
)
Opening = Generator[AnyEvent, str | None, Unlock]


class NamedParams(RepoParams, frozen=True, kw_only=True):
    """One way into a repository."""

    name: Annotated[str, WAY]


class NewParams(NamedParams, frozen=True, kw_only=True):
    """A way into a repository, and what will open it."""

    new_key_file: Annotated[
        str, param("New key file", "32 random bytes or more; without it a passphrase is asked for, twice", kind="file")
    ] = ""
    new_passphrase: Annotated[Secret | None, param("New passphrase", "opens the repository from then on")] = None


N = TypeVar("N", bound=NamedParams)


class _Change(OnRepository[N]):
    """Replaces config.json by one with other ways in."""

    kind: ClassVar[str] = "change"
    result: ClassVar[type[results.Result]] = results.Keyed
    locks: ClassVar[str] = "keys"
    doing: ClassVar[str]

    @override
    def plan_on(self, glance: NamesOnly, params: N, cancel: Cancel) -> Plan:
        found, place = glance.config, glance.store.where
        if found.cipher == "none":
            raise Refused(
                f"{place} is not locked: it has no keys", "a locked one is made: crashcart backup init --cipher"
            )
        known = config.ways(found)
        after = self.after(params, known)
        return Plan(
            task=self.name,
            target=place,
            params={},
            steps=(Step(id="keys", title=f"{self.doing} {params.name}", no_stop="config.json is being replaced"),),
            changes=(
                BytesChange(target=f"{place}/config.json", summary=f"opened by {_and(known)}; then by {_and(after)}"),
            ),
            facts=(("opens it now", _and(known)), ("opens it then", _and(after))),
            warnings=() if len(after) > len(known) else (COPIED,),
            confirm="" if len(after) > len(known) else params.name,
            state={"ways": [way.name for way in known], "repository": found.id},
        )

    @abstractmethod
    def after(self, params: N, known: tuple[Way, ...]) -> list[Way | str]:
        """What opens it then. Raises Refused."""

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        return self._run(plan, context, again=False)

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """A run that was killed behind the change itself is over: the key that opened it then may open it no more."""
        return self._run(plan, context, again=True)

    def _run(self, plan: Plan, context: Context, *, again: bool) -> Events:
        params: N = plan.params
        store = open_store(params.repo)
        try:
            found = config.load(store)
            unlock = Unlock(params.key_file, (yield from passphrase_of(params, context)))
            if not again:
                config.unlocked(found, unlock)
            new = yield from self.opens(params, context)
            yield StepStarted(step="keys")
            if again and self.is_done(found, params, new):
                config.replace(store, found, found)
            else:
                config.replace(store, found, self.changed(found, unlock, params, new))
        except OSError as error:
            raise no_room(store.where, error) from None
        finally:
            store.close()
        yield StepEnded(step="keys")
        yield Finished(
            summary=f"{plan.target} is opened by {_and(config.ways(config.load(open_store(params.repo))))}",
            result={"repo": plan.target, "key": params.name},
            then=("write it down anew: crashcart backup key paper",),
        )

    def opens(self, params: N, context: Context) -> Opening:
        """What will open it, asked for where it was not given."""
        del params, context
        return Unlock()
        yield  # a generator, as those are that ask

    @abstractmethod
    def is_done(self, found: Config, params: N, new: Unlock) -> bool:
        """Whether it is as this change would have it."""

    @abstractmethod
    def changed(self, found: Config, unlock: Unlock, params: N, new: Unlock) -> Config:
        """The config to be. Raises Refused."""


def _new(params: NewParams, context: Context) -> Opening:
    if params.new_key_file:
        return Unlock(params.new_key_file)
    given = context.secrets.get("new_passphrase")
    if given is None:
        given = Secret((yield Asked(question=f"new passphrase {params.name}", secret=True)) or "")
        again = yield Asked(question="the same once more", secret=True)
        if again != given.reveal():
            raise Refused("the two were not the same", "nothing was changed; try again")
    if not given.reveal():
        raise Refused("an empty passphrase locks nothing", "nothing was changed; give one")
    return Unlock(passphrase=given)


class KeyAdd(_Change[NewParams]):
    """`crashcart backup key add`."""

    name: ClassVar[str] = "backup-key-add"
    verb: ClassVar[str] = "key-add"
    title: ClassVar[str] = "another way into a locked repository"
    doing: ClassVar[str] = "Add"
    params = NewParams

    @override
    def plan(self, params: NewParams, cancel: Cancel) -> Plan:
        plan = super().plan(params, cancel)
        return msgspec.structs.replace(plan, undo=f"{params.name} is taken out again")

    @override
    def after(self, params: NewParams, known: tuple[Way, ...]) -> list[Way | str]:
        if params.name in {way.name for way in known}:
            raise BadParam("name", params.name, "one that is not taken", "see those: crashcart backup key list")
        demand_one("new_key_file", params.new_key_file, params.new_passphrase)
        return [*known, params.name]

    @override
    def opens(self, params: NewParams, context: Context) -> Opening:
        return (yield from _new(params, context))

    @override
    def changed(self, found: Config, unlock: Unlock, params: NewParams, new: Unlock) -> Config:
        names = tuple(way.name for way in config.ways(found))
        if params.name in names:
            raise Refused(
                f"{params.name} is taken by another key than what was given",
                "was it added before, then with what was given then; else add it by another name",
            )
        return config.with_ways(found, unlock, names, {params.name: new})

    @override
    def is_done(self, found: Config, params: NewParams, new: Unlock) -> bool:
        return config.opens(found, params.name, new)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="keys")
        store = open_store(plan.params.repo)
        found = config.load(store)
        left = tuple(way for way in found.ways if way.name != plan.params.name)
        if not left:
            raise Refused(f"nothing but {plan.params.name} opens {store.where}", "add another first")
        config.replace(store, found, msgspec.structs.replace(found, ways=left))
        yield StepEnded(step="keys")
        yield Finished(summary=f"{plan.params.name} does not open {store.where} any more")


class KeyRemove(_Change[NamedParams]):
    """`crashcart backup key remove`."""

    name: ClassVar[str] = "backup-key-remove"
    verb: ClassVar[str] = "key-remove"
    title: ClassVar[str] = "take a lost key out of a locked repository"
    irreversible: ClassVar[str] = "a key that was taken out is gone; add it anew where it is still there"
    doing: ClassVar[str] = "Take out"
    params = NamedParams

    @override
    def after(self, params: NamedParams, known: tuple[Way, ...]) -> list[Way | str]:
        left = [way for way in known if way.name != _present(params, known).name]
        if not left:
            raise Refused(f"{params.name} is the only key: nobody could open it again", "add another first")
        return [*left]

    @override
    def is_done(self, found: Config, params: NamedParams, new: Unlock) -> bool:
        return params.name not in {way.name for way in config.ways(found)}

    @override
    def changed(self, found: Config, unlock: Unlock, params: NamedParams, new: Unlock) -> Config:
        left = tuple(way.name for way in config.ways(found) if way.name != params.name)
        after = config.with_ways(found, unlock, left, {})
        try:
            config.secret(after, unlock)
        except Refused:
            raise Refused(
                f"what was given is {params.name} itself, the key that goes",
                "give one that stays, to prove that it opens",
            ) from None
        return after


class KeyRotate(_Change[NewParams]):
    """`crashcart backup key rotate`."""

    name: ClassVar[str] = "backup-key-rotate"
    verb: ClassVar[str] = "key-rotate"
    title: ClassVar[str] = "put a new key in the place of one of a locked repository"
    irreversible: ClassVar[str] = "the key that was there before is gone; rotate to it again where it is still there"
    doing: ClassVar[str] = "Replace"
    params = NewParams

    @override
    def after(self, params: NewParams, known: tuple[Way, ...]) -> list[Way | str]:
        left = [way for way in known if way.name != _present(params, known).name]
        demand_one("new_key_file", params.new_key_file, params.new_passphrase)
        return [*left, f"{params.name}, new"]

    @override
    def opens(self, params: NewParams, context: Context) -> Opening:
        return (yield from _new(params, context))

    @override
    def is_done(self, found: Config, params: NewParams, new: Unlock) -> bool:
        return config.opens(found, params.name, new)

    @override
    def changed(self, found: Config, unlock: Unlock, params: NewParams, new: Unlock) -> Config:
        left = tuple(way.name for way in config.ways(found) if way.name != params.name)
        return config.with_ways(found, unlock, left, {params.name: new})


def _present(params: NamedParams, known: tuple[Way, ...]) -> Way:
    for way in known:
        if way.name == params.name:
            return way
    raise BadParam("name", params.name, " or ".join(way.name for way in known), "see them: crashcart backup key list")


def _and(ways: tuple[Way, ...] | list[Way | str]) -> str:
    return ", ".join(one if isinstance(one, str) else f"{one.name} ({one.words})" for one in ways)


KEYS = (KeyAdd(), KeyRemove(), KeyRotate())
