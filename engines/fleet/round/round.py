"""One pass over what is due: handed out within the limits, followed to its end, tried again, written to the ledger."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from engines.fleet.agent import wire
from engines.fleet.config.model import Fleet, Host
from engines.fleet.ledger.holds import Hold, holds, over
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import GOOD, Job
from engines.fleet.round.following import PATIENCE, Lost, Order, Outcome
from engines.fleet.round.hands import Hands, Here
from engines.fleet.round.limits import AT_CONTROLLER, Limits
from engines.fleet.schedule.due import backoff
from engines.job.contract import Cancel
from engines.job.jobfile import Job as JobFile

BUSY_WAIT = 5.0  # s until a host without a free slot is asked again
LOOK_EVERY = 300.0  # s
TICK = 1.0  # s at most between two looks at the clock
TOO_LATE = "the round ended before its turn: give it more slots, or a longer window"
UPKEEP_TRIES = 1  # again, after one that failed


@dataclass
class Todo:
    """A job of this pass. words: its job file, None where it is only followed. urgency: what sorts it.

    closes: not started any more from then on. later: of a round that opened after this pass began, which does what it
    can of it until all else is over; what is left waits for the next pass.
    """

    job: Job
    words: JobFile | None
    urgency: tuple[float, float, str]
    closes: float
    retries: int
    later: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more is done for it."""
        return self.job.state not in ("waiting", "running")


@dataclass(frozen=True)
class Told:
    """What a thread says of a job: that it began, or how it came out."""

    key: str
    answer: wire.Begun | Outcome


def hear(said: queue.Queue[Told], wait: float, running: int) -> Told:
    """The next word, within so many seconds. Raises queue.Empty."""
    del running  # who has a clock of its own need not wait where nothing runs
    return said.get(timeout=wait)


@dataclass
class Round:
    """Jobs at work. clock: Unix time in s; patience: s that a host may be away.

    again: what is to be done by a new look, which is taken every few minutes. hands: who follows so many jobs at once,
    closed with the work. check: raises where this controller must do no more. hear: how words are
    waited for.
    """

    fleet: Fleet
    ledger: Ledger
    cancel: Cancel = field(default_factory=Cancel)
    clock: Callable[[], float] = time.time
    patience: float = PATIENCE
    again: Callable[[], Iterable[Todo]] = tuple
    hands: Callable[[int], Hands] = Here
    check: Callable[[], None] = lambda: None
    hear: Callable[[queue.Queue[Told], float, int], Told] = hear

    def __post_init__(self) -> None:
        self.todo: dict[str, Todo] = {}
        self.limits = Limits(self.fleet)
        self._waiting: list[Todo] = []
        self._running = self._later = 0  # how many; how many of them are of later rounds
        self._stopped = False
        self._ending = False  # nothing new is begun, what runs is followed to its end
        self._said: queue.Queue[Told] = queue.Queue()
        self._look_at = self.clock() + LOOK_EVERY

    def add(self, *todo: Todo) -> None:
        """More to do. What waits goes where its guest is now; what runs or is over is left as it is."""
        new = [one for one in todo if one.job.key not in self.todo]
        for one in todo:
            known = self.todo.get(one.job.key)
            if known and known.job.state == "waiting" and one.words is not None:
                known.job = msgspec.structs.replace(known.job, host=one.job.host, disks=one.job.disks)
                known.words, known.closes = one.words, one.closes
        self.ledger.keep(*(one.job for one in new))
        self.todo |= {one.job.key: one for one in new}
        self._line_up()

    def _line_up(self) -> None:
        """Those that wait, the most urgent first: looked at after every word, and so not all that was ever to do."""
        waiting = (one for one in self.todo.values() if one.job.state == "waiting")
        self._waiting = sorted(waiting, key=lambda one: one.urgency)

    def work(self) -> Iterator[Todo]:
        """Do all of it; each job as it is over. A stop cuts connections, and what runs on hosts goes on there."""
        if not self.todo:
            return
        hands = self.hands(self.limits.jobs)
        try:
            self._take_up(hands)
            while self._more():
                self.cancel.check()
                self.check()
                self._look_again()
                yield from self._late()
                self._hand_out(hands)
                hands.look()
                yield from self._heard()
            self._leave()
        finally:
            self._stopped = True
            hands.close()

    def _more(self) -> bool:
        """Whether this pass goes on. With hosts in several zones something always waits, and upkeep never comes."""
        its_own = self._running > self._later or any(not one.later for one in self._waiting)
        self._ending = self._ending or not its_own
        return its_own or bool(self._running)

    def _leave(self) -> None:
        """What still waits is the next pass's; the ledger has it, with its tries."""
        for one in self._waiting:
            del self.todo[one.job.key]
        self._waiting = []

    def _look_again(self) -> None:
        """Guests come and move, and rounds of other policies open, while this one is at work."""
        if self.clock() >= self._look_at and not self._ending:
            self.add(*self.again())
            self._look_at = self.clock() + LOOK_EVERY

    # ── handing out ──

    def _take_up(self, hands: Hands) -> None:
        """What an earlier controller started counts first: it may be at work."""
        for one in self.todo.values():
            if one.job.state == "running":
                self.limits.take(self._needs(one.job), by_force=True)
                self._follow(hands, one, started=True)

    def _late(self) -> Iterator[Todo]:
        """Those whose round ended before their turn, or that somebody holds since."""
        now, held = self.clock(), holds(self.ledger)
        over_ = {one.job.key: hold.words for one in self._waiting if held and (hold := self._held(held, one.job))}
        late = [one for one in self._waiting if now >= one.closes or one.job.key in over_]
        for one in late:
            why = over_.get(one.job.key) or one.job.why or TOO_LATE
            self._note(one, state="failed" if one.job.tries else "missed", ended=now, why=why)
        if late:
            self._line_up()
        yield from late

    def _held(self, held: Sequence[Hold], job: Job) -> Hold | None:
        return over(held, uuid=job.uuid, host=job.host, repository=job.repository)

    def _hand_out(self, hands: Hands) -> None:
        if self._ending:
            return
        now = self.clock()
        begun = False
        for one in self._waiting:
            if one.job.not_before <= now and self.limits.take(self._needs(one.job)):
                self._note(one, state="running", started=now)
                self._follow(hands, one, started=False)
                begun = True
        if begun:
            self._line_up()

    def _follow(self, hands: Hands, one: Todo, *, started: bool) -> None:
        self._running += 1
        self._later += one.later
        key = one.job.key
        order = Order(
            name=one.job.host,
            host=self._host(one.job.host),
            key=key,
            words=one.words,
            started=started,
            patience=self.patience,
        )
        hands.follow(order, self._needs(one.job), one.urgency[0], lambda answer: self._said.put(Told(key, answer)))

    def _needs(self, job: Job) -> tuple[str, ...]:
        return self.limits.needs(job.host, job.repository)

    def _host(self, name: str) -> Host:
        return self.fleet.hosts.get(name) or Host(ssh="local", slots=AT_CONTROLLER, find=())

    # ── hearing ──

    def _heard(self) -> Iterator[Todo]:
        """Wait for a word, or for the next moment at which something may start."""
        now = self.clock()
        waits = [one.job.not_before - now for one in self._waiting]
        wait = min([TICK, *(each for each in waits if each > 0)])
        try:
            told = self.hear(self._said, wait, self._running)
        except queue.Empty:
            return
        while True:
            one = self.todo[told.key]
            self._learn(one, told.answer)
            if one.over and not isinstance(told.answer, wire.Begun):
                yield one
            try:
                told = self._said.get_nowait()
            except queue.Empty:
                return

    def _learn(self, one: Todo, answer: wire.Begun | Outcome) -> None:
        if isinstance(answer, wire.Begun):
            self._note(one, run=answer.run)
            return
        self._running -= 1
        self._later -= one.later
        self.limits.free(self._needs(one.job))
        now = self.clock()
        match answer:
            case wire.Busy():
                self._note(one, state="waiting", not_before=now + BUSY_WAIT)
            case wire.Ended(status=status) if status in GOOD:
                self._note(one, state=status, ended=now, **numbers(answer))
            case Lost(why=why) if self._stopped:
                del why  # it stays running: who comes next follows it
            case _:
                self._failed(one, answer, now)
        if one.job.state == "waiting":
            self._line_up()

    def _failed(self, one: Todo, answer: Outcome, now: float) -> None:
        """One try less; again after a while, if one is left."""
        tries = one.job.tries + 1
        why = getattr(answer, "why", "") or "it ended without a reason"
        helps = getattr(answer, "what_helps", "")
        again = tries <= one.retries and one.words is not None
        state = "waiting" if again else "refused" if getattr(answer, "status", "") == "refused" else "failed"
        not_before = now + backoff(tries) if again else 0.0
        self._note(one, state=state, tries=tries, ended=now, why=why, what_helps=helps, not_before=not_before)

    def _note(self, one: Todo, **changed: object) -> None:
        state = changed.pop("state", one.job.state)
        one.job = msgspec.structs.replace(one.job, state=state, **changed)
        self.ledger.note(one.job.key, one.job.state, **changed)


def numbers(ended: wire.Ended) -> dict[str, object]:
    """What a run that went well says of itself, as columns of the ledger."""
    result = ended.result
    rows = result.get("points")
    disks = rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else [result]
    return {
        "run": ended.run,
        "why": "",
        "what_helps": "",
        "warnings": ended.warnings,
        "points": tuple(str(row["point"]) for row in disks if "point" in row),
        "read": sum(int(row.get("read", 0)) for row in disks),
        "changed": int(result.get("changed", 0)),
        "stored": int(result.get("stored", 0)),
    }
