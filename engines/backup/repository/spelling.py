"""Where A and a are one name, as on exFAT, CIFS or a Mac's disk, no VM or disk is called like another but for that."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from engines.backup.repository.repository import NamesOnly
from engines.backup.store.store import Store
from engines.job.errors import Refused

_folding: WeakKeyDictionary[Store, bool] = WeakKeyDictionary()  # no place changes how it takes names while it is open
OTHERWISE = ("CONFIG.JSON", "packs/CONFIG.JSON")  # no such file is ever made


def folded(store: Store) -> bool:
    """Whether its place takes A and a for one name."""
    if store.folds and store not in _folding:
        try:
            _folding[store] = len(store.missing(OTHERWISE)) < len(OTHERWISE)
        except OSError:  # what is wrong with the place is told where it is written to
            return False
    return store.folds and _folding[store]


def refuse_twin(repository: NamesOnly, disks: Iterable[tuple[str, str]]) -> None:
    """Raises Refused where a new point of one of these (VM, disk) would lie among those of another, given or there."""
    if not folded(repository.store):
        return
    known = {(name.vm, name.disk) for name in repository.names()}
    for vm, disk in disks:
        for there in sorted(known):
            alike = (there[0].lower(), there[1].lower()) == (vm.lower(), disk.lower())
            if there != (vm, disk) and (alike or (there[0] != vm and there[0].lower() == vm.lower())):
                raise Refused(
                    f"{repository.store.where} takes {vm}/{disk} and {'/'.join(there)} for one name, since it tells"
                    " no A from a",
                    f"call it {there[0]}, if it is the same VM, or by a name that differs in more",
                )
        known.add((vm, disk))
