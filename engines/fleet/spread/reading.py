"""The packs of a repository read by many workers, a share at a time; what no worker reads is read here."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from engines.backup.repository import pack
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.store import uplink
from engines.backup.store.uplink import Uplink
from engines.backup.upkeep.records import Findings, Records
from engines.backup.upkeep.verifying import Verifying
from engines.fleet.spread import resources
from engines.fleet.spread.line import Line, Undone
from engines.fleet.spread.work import Share, Unable, read
from engines.job.contract import AnyEvent, Cancel, Progress, Warned

SHARES = 6  # for each worker, so that all end at about the same time
LARGEST = 4 << 30  # bytes of a share, so that little of a killed worker's is done again
AHEAD = resources.SHARES  # that each worker has at a time, none waiting there: the next is for whoever is first
TICK = 0.5  # s


def shares(packs: list[tuple[bytes, int]], count: int) -> Iterator[tuple[tuple[bytes, int], ...]]:
    """Packs dealt into about `count` shares of as many bytes, more where they would be too large."""
    most = min(sum(size for _, size in packs) // count, LARGEST)
    share: list[tuple[bytes, int]] = []
    for each in packs:
        share.append(each)
        if sum(size for _, size in share) >= most:
            yield tuple(share)
            share = []
    if share:
        yield tuple(share)


@dataclass
class Spread:
    """One reading. opening: what names and unlocks the repository, with files that every worker has.

    slots: how many may read at once; needs: what each takes of its worker; uplink: how fast each may.
    """

    repository: Repository
    opening: Mapping[str, str]
    percent: int
    line: Line
    cancel: Cancel
    needs: tuple[str, ...]
    slots: int
    uplink: str

    def read(self, verifying: Verifying, presence: Presence) -> Generator[AnyEvent, Any, None]:
        """Have all packs of a verify read."""
        waiting = list(shares(verifying.packs, SHARES * max(self.line.workers(), 1)))
        total = sum(size for _, size in verifying.packs)
        reading, out, passed = os.urandom(8).hex(), 0, 0
        back: queue.Queue[tuple[Share, Any]] = queue.Queue()
        warned: set[str] = set()
        while waiting or out:
            while waiting and out < self._most():
                self._hand(Share(reading=reading, packs=waiting.pop(0), **self._given()), out, back.put)
                out += 1
            self.line.look()
            presence.touch()
            self.cancel.check()
            try:
                share, found = back.get(timeout=TICK)
            except queue.Empty:
                continue
            out -= 1
            here, why = self._here(share, found)
            if why and why not in warned:
                warned.add(why)
                yield Warned(text=f"{why}; those packs are read here")
            verifying.take(found if isinstance(found, Findings) else Findings())
            if here:
                verifying.take((yield from self._alone(here, presence, passed, total)))
            passed += sum(size for _, size in share.packs)
            yield Progress(done=min(passed, total), total=total)
        yield Progress(done=total, total=total)

    def _most(self) -> int:
        """Shares that are out at once."""
        workers = max(self.line.workers(), 1)
        return AHEAD * workers if workers <= self.slots else self.slots

    def _given(self) -> dict[str, Any]:
        return {"opening": dict(self.opening), "id": self.repository.id, "percent": self.percent, "uplink": self.uplink}

    def _hand(self, share: Share, number: int, back: Callable[[tuple[Share, Any]], None]) -> None:
        self.line.hand(read, share, self.needs, float(number), lambda found: back((share, found)))

    def _here(self, share: Share, found: Findings | Unable | Undone) -> tuple[list[tuple[bytes, int]], str]:
        """The packs of a share that must be read here after all, and why."""
        if not isinstance(found, Findings):
            return list(share.packs), found.why
        if not found.gone:
            return [], ""
        names = {pack.name(owner): owner for owner in found.gone}
        there = names.keys() - self.repository.store.missing(list(names))
        again = [each for each in share.packs if pack.name(each[0]) in there]
        return again, f"a worker does not see {len(again)} packs that are there" if again else ""

    def _alone(
        self, packs: list[tuple[bytes, int]], presence: Presence, before: int, total: int
    ) -> Generator[AnyEvent, Any, Findings]:
        records = Records(self.repository, self.percent, packs, held_to(self.uplink, self.cancel))
        for passed in _passed(records, presence, self.cancel):
            yield Progress(done=min(before + passed, total), total=total)
        return records.findings


def held_to(text: str, cancel: Cancel) -> Uplink:
    """The line as `backup verify` is told it; waiting for it ends with a stop."""
    return Uplink(uplink.parse(text), cancel.sleep)


def alone(
    repository: Repository, percent: int, verifying: Verifying, presence: Presence, cancel: Cancel, rate: str
) -> Generator[AnyEvent, Any, None]:
    """All packs of a verify read by this process. rate: how fast."""
    records = Records(repository, percent, verifying.packs, held_to(rate, cancel))
    for passed in _passed(records, presence, cancel):
        yield Progress(done=min(passed, records.total), total=records.total)
    verifying.take(records.findings)
    yield Progress(done=records.total, total=records.total)


def _passed(records: Records, presence: Presence, cancel: Cancel) -> Iterator[int]:
    with closing(records.reading().ticks()) as ticks:
        for _ in ticks:
            presence.touch()
            cancel.check()
            yield records.passed
