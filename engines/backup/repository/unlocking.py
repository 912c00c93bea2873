"""Opens a run's repository, asking for the passphrase where it was not given."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from engines.backup.repository import config
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.backup.store.opening import open_store
from engines.job.contract import AnyEvent, Asked, Context
from engines.job.params import Secret


def opened(params: dict[str, Any], context: Context) -> Generator[AnyEvent, str | None, Repository]:
    """The repository of a plan's parameters. Raises Refused, Damaged."""
    store = open_store(params["repo"])
    found = config.load(store)
    passphrase = yield from passphrase_of(params, context)
    return Repository(store, found, config.unlocked(found, Unlock(params["key_file"], passphrase)))


def passphrase_of(params: dict[str, Any], context: Context) -> Generator[AnyEvent, str | None, Secret | None]:
    """The passphrase that was given, or asked for where one is needed; None where none is."""
    store = open_store(params["repo"])
    passphrase = context.secrets.get("passphrase")
    if config.load(store).kdf == "scrypt" and passphrase is None:
        passphrase = Secret((yield Asked(question=f"passphrase of {store.where}", secret=True)) or "")
    return passphrase
