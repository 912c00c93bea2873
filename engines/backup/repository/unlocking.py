"""Opens a run's repository, asking for the passphrase where it was not given."""

from __future__ import annotations

from collections.abc import Generator

from engines.backup.repository import config
from engines.backup.repository.config import Config
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.store.opening import closed_on_error, open_store
from engines.job.contract import AnyEvent, Asked, Context
from engines.job.params import Secret


def opened(params: RepoParams, context: Context) -> Generator[AnyEvent, str | None, Repository]:
    """The repository of a run's parameters, for a `with`. Raises Refused, Damaged."""
    store = open_store(params.repo)
    with closed_on_error(store):
        found = config.load(store)
        unlock = Unlock(params.key_file, (yield from _asked(store.where, found, params, context)))
        return Repository(store, found, config.unlocked(found, unlock), unlock)


def passphrase_of(params: RepoParams, context: Context) -> Generator[AnyEvent, str | None, Secret | None]:
    """The passphrase that was given, or asked for where one is needed; None where none is."""
    with Repository.glance(params.repo) as glance:
        found, place = glance.config, glance.store.where
    return (yield from _asked(place, found, params, context))


def _asked(
    place: str, found: Config, params: RepoParams, context: Context
) -> Generator[AnyEvent, str | None, Secret | None]:
    passphrase = context.secrets.get("passphrase")
    if config.asks(found, params.key_file) and passphrase is None:
        passphrase = Secret((yield Asked(question=f"passphrase of {place}", secret=True)) or "")
    return passphrase
