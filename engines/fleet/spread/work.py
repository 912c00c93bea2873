"""What a worker does when it is asked: follow a job on its host, or read a share of a repository's packs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import msgspec

from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.store import uplink
from engines.backup.store.uplink import Uplink
from engines.backup.upkeep.records import Findings, Records, threads
from engines.fleet.agent import wire
from engines.fleet.round.following import Following, Order, Outcome
from engines.job.errors import CrashcartError, Failed
from engines.job.jobfile import open_secrets
from engines.job.params import convert

TOPIC = "crashcart"  # under which a worker says something on the way


class Unable(msgspec.Struct, frozen=True, kw_only=True):
    """The worker cannot do it, and why; somebody else may."""

    why: str


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Packs to be read. opening: what names and unlocks the repository, with files of the worker's own machine.

    id: of that repository, so that another one under the same name is not taken for it. packs: with their bytes.
    reading: of all shares of one verify the same, so that a worker opens the repository once. uplink: how fast a
    worker may read, as `backup verify` takes it.
    """

    reading: str
    opening: dict[str, str]
    id: bytes
    percent: int
    packs: tuple[tuple[bytes, int], ...]
    uplink: str = "none"


class Followed:
    """The jobs that this worker follows, by task, so that those nobody wants any more can be let go of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by: dict[str, Following] = {}

    @contextmanager
    def one(self, task: str, following: Following) -> Iterator[None]:
        """It is followed within this."""
        with self._lock:
            self._by[task] = following
        try:
            yield
        finally:
            with self._lock:
                self._by.pop(task, None)

    def let_go(self, task: str) -> None:
        """Follow it no longer; on its host it goes on."""
        with self._lock:
            following = self._by.get(task)
        if following is not None:
            following.let_go()


FOLLOWED = Followed()


def follow(order: Order) -> Outcome:
    """On a worker: the job started, or followed, to its end; that it began is told at once."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.get_current_task()
    following = Following(order)

    def tell(answer: wire.Begun | wire.Progressed) -> None:
        if isinstance(answer, wire.Begun):
            worker.log_event(TOPIC, {"task": task, "run": answer.run, "new": answer.new})

    with FOLLOWED.one(task, following):
        return following.outcome(tell)


@dataclass
class _Open:
    """The repository of a reading. shares: of it that are read at this moment."""

    repository: Repository
    uplink: Uplink
    shares: int = 0


class Opened:
    """The repository of the reading that is at work, opened once; let go of once another was opened and no share of it
    is read any more.
    """

    def __init__(self, opens: Callable[[Share], Repository]) -> None:
        self._opens = opens
        self._lock = threading.Lock()
        self._by: dict[str, _Open] = {}
        self._newest = ""

    @contextmanager
    def of(self, share: Share) -> Iterator[tuple[Repository, Uplink]]:
        """It stays open within this. Raises CrashcartError, OSError."""
        with self._lock:
            one = self._by.get(share.reading)
            if one is None:
                one = _Open(self._opens(share), Uplink(uplink.parse(share.uplink)))
                self._by[share.reading] = one
                self._newest = share.reading
                self._sweep()
            one.shares += 1
        try:
            yield one.repository, one.uplink
        finally:
            with self._lock:
                one.shares -= 1
                self._sweep()

    def _sweep(self) -> None:
        for reading, one in list(self._by.items()):
            if not one.shares and reading != self._newest:
                del self._by[reading]
                one.repository.close()


class _Gate:
    """As many records are read at once as a verify of one process reads, however many shares there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[int, threading.Semaphore] = {}

    def of(self, count: int) -> threading.Semaphore:
        """The one for so many."""
        with self._lock:
            return self._gates.setdefault(count, threading.Semaphore(count))


GATE = _Gate()


def _opened(share: Share) -> Repository:
    repository = Repository.of(convert(RepoParams, open_secrets(RepoParams, share.opening)))
    try:
        if repository.id != share.id:
            raise Failed(f"{repository.store.where} is another repository here")
        repository.load()
    except BaseException:
        repository.close()
        raise
    return repository


OPENED = Opened(_opened)


def read(share: Share) -> Findings | Unable:
    """On a worker: what reading the packs of a share found."""
    try:
        with OPENED.of(share) as (repository, line):
            gate = GATE.of(threads(repository.store))
            records = Records(repository, share.percent, share.packs, line, gate)
            with closing(records.reading().ticks()) as ticks:
                for _ in ticks:
                    pass
    except (CrashcartError, OSError) as error:
        return Unable(why=str(error))
    return records.findings
