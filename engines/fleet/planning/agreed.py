"""What is held, as all controllers know it: where fleet.yaml names a lease, in the store of that repository.

Each change is a file of its own there, `leases/holds.N.json`, made only where it is not there, so that of two changes
at once neither is lost; the highest N counts. The ledger has what was last read, for when the store does not answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec

from engines.backup.repository.repository import Repository
from engines.backup.store.store import TEMPORARY, Store
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.holds import Hold, Seen, holds, put, seen
from engines.fleet.ledger.ledger import Ledger, place
from engines.job.errors import CrashcartError, Failed

FOLDER = "leases"
NAME = re.compile(r"leases/holds\.(\d{12})\.json")
TRIES = 20  # for a change that others are quicker with

Change = Callable[[list[Hold]], list[Hold]]


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, the oldest first. trouble: why others may be held, too; empty where all is known."""

    held: list[Hold] = []
    trouble: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """All of it, a line each."""
        return (*(hold.words for hold in self.held), *filter(None, [self.trouble]))


def known(fleet: Fleet, ledger: Ledger, now: float) -> Agreed:
    """All of them, noted in the ledger; what only the ledger has is told to the others. now: Unix time in s."""
    if not fleet.lease:
        return Agreed(held=holds(ledger))
    try:
        with _store(fleet) as store:
            all_, last = _shared(store, ledger)
    except (CrashcartError, OSError) as error:
        return Agreed(held=holds(ledger), trouble=_trouble(fleet, error))
    if last.number and (all_ != holds(ledger) or seen(ledger) != last):
        put(ledger, all_, now, last)
    return Agreed(held=all_)


def looked_up(fleet: Fleet) -> list[Hold]:
    """The same, and nothing is noted or made. Raises CrashcartError, OSError where their store does not answer."""
    path = place(fleet)
    with ExitStack() as open_:
        ledger = open_.enter_context(Ledger(path)) if path.exists() else None
        if not fleet.lease:
            return holds(ledger) if ledger else []
        store = open_.enter_context(_store(fleet))
        number, found = _newest(store)
        return _joined(store, ledger, number, found) if ledger else found


def try_out(fleet: Fleet) -> int:
    """How many are held where controllers share that, and whether it can be changed. Raises CrashcartError, OSError."""
    with _store(fleet) as store:
        found = _newest(store)[1]
        probe = f"{FOLDER}/{TEMPORARY}check-{os.urandom(8).hex()}"
        store.put(probe, b"written by: crashcart fleet check")
        store.delete(probe)
        return len(found)


def change(fleet: Fleet, ledger: Ledger, how: Change, now: float) -> list[Hold]:
    """Have `how` make all of them anew, here and where they are shared. Raises Failed where that cannot be."""
    if not fleet.lease:
        after = how(holds(ledger))
        put(ledger, after, now)
        return after
    try:
        with _store(fleet) as store:
            number, after = _changed(store, how, ledger)
            put(ledger, after, now, Seen(where=store.where, number=number))
    except OSError as error:
        why = f"{_where(fleet)}, where controllers share what is held: {error.strerror or error}"
        raise Failed(why, "see: crashcart fleet check") from None
    return after


def _shared(store: Store, ledger: Ledger) -> tuple[list[Hold], Seen]:
    """All of them, and of which change they are."""
    number, found = _newest(store)
    all_ = _joined(store, ledger, number, found)
    if all_ != found:  # no other controller was told of some
        number, all_ = _changed(store, list, ledger)
    return all_, Seen(where=store.where, number=number)


def _joined(store: Store, ledger: Ledger, number: int, found: list[Hold]) -> list[Hold]:
    """Those of the change of that number, with what the ledger has of its own.

    That is all it has where it never had them from this store, or had a later change that is there no more.
    """
    last = seen(ledger)
    if last and last.where == store.where and last.number <= number:
        return found
    ids = {(hold.what, hold.id) for hold in found}
    own = [hold for hold in holds(ledger) if (hold.what, hold.id) not in ids]
    return sorted([*found, *own], key=lambda hold: hold.since) if own else found


def _changed(store: Store, how: Change, ledger: Ledger) -> tuple[int, list[Hold]]:
    """The number of the change that `how` made, and what came of it."""
    for _ in range(TRIES):
        before, found = _newest(store)
        number, after = before + 1, how(_joined(store, ledger, before, found))
        try:
            store.put(_name(number), msgspec.json.encode(after), new=True)
        except FileExistsError:
            continue
        if max(_numbers(store), default=0) != number:  # others made this one and later ones, and removed it again
            with suppress(FileNotFoundError):
                store.delete(_name(number))
            continue
        with suppress(OSError):  # the next change removes what is left
            _tidy(store, number)
        return number, after
    raise Failed("others change what is held all the time", "try again")


def _trouble(fleet: Fleet, error: CrashcartError | OSError) -> str:
    said = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return f"what other controllers hold is not known, {_where(fleet)} cannot tell: {said}"


def _where(fleet: Fleet) -> str:
    return fleet.repositories[fleet.lease].url


def _newest(store: Store) -> tuple[int, list[Hold]]:
    """The number of the last change, and what it made of them; 0 where none was ever made."""
    while True:
        numbers = _numbers(store)
        if not numbers:
            return 0, []
        try:
            return max(numbers), msgspec.json.decode(store.read(_name(max(numbers))), type=list[Hold])
        except FileNotFoundError:
            continue  # a newer one took its place
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            why = f"{store.where}: {_name(max(numbers))} is not what crashcart wrote: {error}"
            raise Failed(why, "remove that file: controllers tell anew what they know; then see what is held") from None


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
