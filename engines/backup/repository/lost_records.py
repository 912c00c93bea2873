"""What a repository misses, and how a backup that stores it anew tells the index."""

from __future__ import annotations

from engines.backup.repository import quarantine, sessions
from engines.backup.repository.index import Index
from engines.backup.repository.repository import Repository


def needed(repository: Repository) -> bool:
    """Whether a record is damaged or lost that no other place holds."""
    index: Index = repository.index
    if index.lost:
        return True
    return any(not any(True for _ in index.find(bytes.fromhex(bad.id))) for bad in quarantine.every(repository.store))


def forget_lost(repository: Repository) -> None:
    """The index names lost packs no more: what the disk still held of them was stored anew just now."""
    from engines.backup.repository import merge  # brings numpy, which a sound repository never needs here

    index = repository.index
    index.flush(always=True)
    merge.merge(repository.store, repository.id, list(index.segments), index.present)


def forget_killed(repository: Repository, disks: set[str]) -> None:
    """What earlier tries of these disks (VM/DISK) stored is referenced now, or gc's."""
    for session in sessions.killed(repository.store):
        if session.disk and set(session.disk.split(" ")) <= disks:
            try:
                repository.store.delete(session.path)
            except FileNotFoundError:
                continue
