"""Whose packs these are: each names its repository, so that no other's config passes for the one that was lost."""

from __future__ import annotations

from contextlib import suppress

from engines.backup.errors import Damaged
from engines.backup.store.store import Store


def of(store: Store, name: str) -> str:
    """The id of the repository that a pack is of; empty where it does not say."""
    from engines.backup.repository import pack

    try:
        return pack.owner(store.read(name, 0, pack.FRONT_SIZE)).hex()
    except (Damaged, OSError):
        return ""


def doubt(store: Store, repository: str) -> str:
    """Why the packs may not be those of the repository with that id, in words; empty where they are, or are none."""
    from engines.backup.repository import pack

    owners: set[str] = set()
    try:
        names = [name for name in store.names("packs") if name.endswith(".pack")]
        for _, front in store.read_all(names, pack.FRONT_SIZE):
            with suppress(Damaged):
                owners.add("" if isinstance(front, OSError) else pack.owner(front).hex())
    except OSError as error:
        return f"whose packs these are cannot be seen ({error.strerror})"
    if owners - {repository, ""}:
        return f"there are packs of another repository than {repository}"
    return "" if repository in owners or not names else f"no pack says that it is of repository {repository}"
