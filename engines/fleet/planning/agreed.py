"""What is held, as all controllers know it: where fleet.yaml names a lease, in the store of that repository.

Each change is a file of its own there, `leases/holds.N.json`, made only where it is not there, so that of two changes
at once neither is lost; the highest N counts. The ledger has what was last read, for when the store does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from engines.backup.repository.repository import Repository
from engines.backup.store.store import Store
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.holds import Hold, holds, put
from engines.fleet.ledger.ledger import Ledger, place
from engines.job.errors import CrashcartError, Failed

FOLDER = "leases"
NAME = re.compile(r"leases/holds\.(\d{12})\.json")
TRIES = 20  # for a change that others are quicker with

Change = Callable[[list[Hold]], list[Hold]]


def known(fleet: Fleet, ledger: Ledger, now: float) -> list[Hold]:
    """All of them, the oldest first; noted in the ledger. now: Unix time in s."""
    mine = holds(ledger)
    try:
        found = _shared(fleet)
    except (CrashcartError, OSError):
        return mine  # that the repository is silent is told with the repositories
    if found is None or found == mine:
        return mine
    put(ledger, found, now)
    return found


def looked_up(fleet: Fleet) -> list[Hold]:
    """The same, and nothing is noted or made. Raises CrashcartError, OSError where their store does not answer."""
    found = _shared(fleet)
    if found is not None:
        return found
    path = place(fleet)
    if not path.exists():
        return []
    with Ledger(path) as ledger:
        return holds(ledger)


def change(fleet: Fleet, ledger: Ledger, how: Change, now: float) -> list[Hold]:
    """Have `how` make all of them anew, here and where they are shared. Raises Failed where that cannot be."""
    if not fleet.lease:
        after = how(holds(ledger))
    else:
        try:
            with _store(fleet) as store:
                after = _changed(store, how, holds(ledger))
        except OSError as error:
            where = fleet.repositories[fleet.lease].url
            why = f"{where}, where controllers share what is held: {error.strerror or error}"
            raise Failed(why, "see: crashcart fleet check") from None
    put(ledger, after, now)
    return after


def _changed(store: Store, how: Change, mine: list[Hold]) -> list[Hold]:
    for _ in range(TRIES):
        number, found = _newest(store)
        after = how(mine if found is None else found)
        try:
            store.put(_name(number + 1), msgspec.json.encode(after), new=True)
        except FileExistsError:
            continue
        with suppress(OSError):  # the next change removes what is left
            _tidy(store, number + 1)
        return after
    raise Failed("others change what is held all the time", "try again")


def _shared(fleet: Fleet) -> list[Hold] | None:
    """Those of all controllers; None where they are not shared, or none was ever written."""
    if not fleet.lease:
        return None
    with _store(fleet) as store:
        return _newest(store)[1]


def _newest(store: Store) -> tuple[int, list[Hold] | None]:
    """The number of the last change, and what it made of them."""
    while True:
        numbers = _numbers(store)
        if not numbers:
            return 0, None
        try:
            return max(numbers), msgspec.json.decode(store.read(_name(max(numbers))), type=list[Hold])
        except FileNotFoundError:
            continue  # a newer one took its place
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = f"{store.where}: {_name(max(numbers))} is not what crashcart wrote: {error}"
            raise Failed(why, "remove that file, and hold again what is to be held") from None


def _tidy(store: Store, newest: int) -> None:
    for number in _numbers(store):
        if number < newest:
            with suppress(FileNotFoundError):
                store.delete(_name(number))


def _numbers(store: Store) -> list[int]:
    return [int(match[1]) for name in store.names(FOLDER) if (match := NAME.fullmatch(name))]


def _name(number: int) -> str:
    return f"{FOLDER}/holds.{number:012d}.json"


@contextmanager
def _store(fleet: Fleet) -> Iterator[Store]:
    with Repository.glance(fleet.repositories[fleet.lease].url) as repository:
        yield repository.store
