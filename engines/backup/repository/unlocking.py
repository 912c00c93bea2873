"""Opens a run's repository, asking for the passphrase where it was not given."""

from __future__ import annotations

from collections.abc import Generator

from engines.backup.repository import config
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.store.opening import open_store
from engines.job.contract import AnyEvent, Asked, Context
from engines.job.params import Secret


def opened(params: RepoParams, context: Context) -> Generator[AnyEvent, str | None, Repository]:
    """The repository of a run's parameters. Raises Refused, Damaged."""
    store = open_store(params.repo)
    found = config.load(store)
    passphrase = yield from passphrase_of(params, context)
    unlock = Unlock(params.key_file, passphrase)
    return Repository(store, found, config.unlocked(found, unlock), unlock)


def passphrase_of(params: RepoParams, context: Context) -> Generator[AnyEvent, str | None, Secret | None]:
    """The passphrase that was given, or asked for where one is needed; None where none is."""
    store = open_store(params.repo)
    passphrase = context.secrets.get("passphrase")
    if config.load(store).kdf == "scrypt" and passphrase is None:
        passphrase = Secret((yield Asked(question=f"passphrase of {store.where}", secret=True)) or "")
    return passphrase
