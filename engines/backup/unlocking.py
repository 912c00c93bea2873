"""Opens a run's repository, asking for the passphrase where it was not given."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from engines.backup import config
from engines.backup.keys import Unlock
from engines.backup.repository import Repository
from engines.backup.store import open_store
from engines.job.contract import AnyEvent, Asked, Context
from engines.job.params import Secret


def opened(params: dict[str, Any], context: Context) -> Generator[AnyEvent, str | None, Repository]:
    """The repository of a plan's parameters. Raises Refused, Damaged."""
    store = open_store(params["repo"])
    found = config.load(store)
    passphrase = context.secrets.get("passphrase")
    if found.kdf == "scrypt" and passphrase is None:
        passphrase = Secret((yield Asked(question=f"passphrase of {store.where}", secret=True)) or "")
    return Repository(store, found, config.unlocked(found, Unlock(params["key_file"], passphrase)))
