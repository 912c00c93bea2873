"""Of several controllers one does a round at a time; one that was killed, or stands still, is followed by another.

The lease lies where all of them reach it, in the store of a repository, as `leases/fleet.N.json`. The highest N has it;
it is made only where it is not there, so that of many that take it over one does. Ages are by the store's clock alone.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from engines.backup.repository import sessions
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Session
from engines.backup.store.store import Store
from engines.fleet.config.model import Fleet
from engines.host.holder import me
from engines.host.machine import hardware, machine_id
from engines.job.errors import Failed, Refused

DEAD = 300.0  # s without a sign of life after which a controller of another machine is followed
SIGN = 30.0  # s between two signs
SURE = 0.8  # of DEAD without a sign until a controller does no more itself, before another may follow it
FOLDER = "leases"
NAME = re.compile(r"leases/fleet\.(\d{12})\.json")


class Lease:
    """Held between `take` and `give_back`; of one that was lost, `check` tells. dead, sign: see DEAD and SIGN."""

    def __init__(self, store: Store, dead: float = DEAD, sign: float = SIGN) -> None:
        self._store = store
        self._dead, self._sign = dead, sign
        self._number = 0
        self._end = threading.Event()
        self._signing = threading.Thread(target=self._sign_on, daemon=True)
        self._lost = ""
        self._trouble = "it does not answer"
        self._good = _awake()  # when the last sign that went well was begun
        self.session = Session(
            id=os.urandom(16).hex(),
            kind="fleet",
            does="a round of the fleet",
            host=sessions.host(),
            pidns=sessions.pid_namespace(),
            holder=me(),
            began=time.time(),
            machine=machine_id(),
            hardware=hardware(),
        )

    def take(self) -> None:
        """Raises Refused where another controller has it, or where the store cannot be written."""
        try:
            highest = max(self._numbers(), default=0)
            if highest and (who := self._holder(highest)):
                raise Refused(who, "wait for it to end; this controller takes over if that one falls silent")
            self._make(highest + 1)
        except OSError as error:
            why = f"the lease in {self._store.where} cannot be taken: {error.strerror or error}"
            raise Refused(why, "see: crashcart fleet check") from None
        self._signing.start()

    def _make(self, number: int) -> None:
        content = msgspec.json.encode(self.session)
        self._good = _awake()
        try:
            self._store.put(_name(number), content, new=True)
        except FileExistsError:
            raise _quicker() from None
        if max(self._numbers()) != number:  # others took and left it between the look and the making
            self._store.delete(_name(number))
            raise _quicker()
        self._number = number
        for older in self._numbers():
            if older < number:
                with suppress(FileNotFoundError):
                    self._store.delete(_name(older))

    def _numbers(self) -> list[int]:
        return [int(match[1]) for name in self._store.names(FOLDER) if (match := NAME.fullmatch(name))]

    def _holder(self, number: int) -> str:
        """Who has it, in words; empty where nobody has."""
        try:
            content = self._store.read(_name(number))
            age = self._store.age(_name(number))
        except FileNotFoundError:
            raise _quicker() from None
        try:
            session = msgspec.json.decode(content, type=Session)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return "" if age > self._dead else f"somebody has the lease in {self._store.where}"
        if session.ended or session.before_a_reboot():
            return ""
        if age > self._dead or (session.here() and not session.holder.alive()):
            return ""
        return f"{session.explained(alive=True)} {age:.0f} s ago"

    def _sign_on(self) -> None:
        """In a thread of its own: signs of life, and whether the lease is still ours."""
        while not self._end.wait(self._sign):
            begun = _awake()
            try:
                if max(self._numbers(), default=0) != self._number:
                    self._lost = "another controller took over, since this one stood still"
                    return
                self._store.touch(_name(self._number))
            except OSError as error:
                self._trouble = error.strerror or str(error)
            else:
                if not self._late():
                    self._good = begun
            if late := self._late():
                self._lost = late
                return

    def _late(self) -> str:
        """Why another may follow soon; empty where none does. A call that hangs is told so while it does."""
        silent = _awake() - self._good
        if silent <= self._dead * SURE:
            return ""
        return f"the lease in {self._store.where} could not be renewed for {silent:.0f} s: {self._trouble}"

    def check(self) -> None:
        """Raises Failed where another controller may be at work."""
        if lost := self._lost or self._late():
            raise Failed(lost, "what runs on hosts goes on, and whoever serves follows it")

    def give_back(self) -> None:
        """Let another have it. It keeps its number: a lower one must never come again."""
        self._end.set()
        self._signing.join(SIGN)
        if not self._lost and not self._signing.is_alive():
            content = msgspec.json.encode(msgspec.structs.replace(self.session, ended=True))
            with suppress(OSError):  # it is dead after a while
                self._store.put(_name(self._number), content)


def _name(number: int) -> str:
    return f"{FOLDER}/fleet.{number:012d}.json"


def _awake() -> float:
    """Seconds, those included in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _quicker() -> Refused:
    return Refused("another controller was quicker to begin a round", "wait for it to end")


@contextmanager
def alone(fleet: Fleet) -> Iterator[Lease | None]:
    """Within it no other controller does a round; None where fleet.yaml names no lease. Raises Refused."""
    if not fleet.lease:
        yield None
        return
    with Repository.glance(fleet.repositories[fleet.lease].url) as repository:  # nothing is made where none is
        lease = Lease(repository.store)
        lease.take()
        try:
            yield lease
        finally:
            lease.give_back()
