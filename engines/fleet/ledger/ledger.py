"""The controller's memory in one sqlite file: written ahead, so that a kill at any moment leaves it whole."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from engines.backup.guests.model import Guest
from engines.fleet.config.model import Fleet
from engines.fleet.ledger.rows import ENDED, TRIED, Job, Kind, Known, State
from engines.job import folders
from engines.job.errors import Failed, Refused

T = TypeVar("T")
VERSION = 1
SCHEMA = """
create table guest (
  uuid text primary key, vm text not null unique, name text not null, host text not null, policy text not null,
  first real not null, seen real not null, gone real, guest blob not null);
create table job (
  key text primary key, round text not null, kind text not null, uuid text not null, vm text not null,
  host text not null, repository text not null, policy text not null, disks blob not null, state text not null,
  tries integer not null, not_before real not null, planned real not null, started real, ended real,
  run text not null, why text not null, what_helps text not null, warnings blob not null, points blob not null,
  read integer not null, changed integer not null, stored integer not null);
create index job_by_guest on job (uuid, repository, kind, planned);
create index job_by_state on job (state);
create index job_by_round on job (round);
create table kept (name text primary key, value blob not null, at real not null);
"""
FOREVER = 1e12  # Unix time in s
PATIENCE = 60.0  # s that another process may write
ONLY_A_MEMORY = "name another file as `ledger`, or move this one away: points are the truth, it is only a memory"
ROOM = "make room where it lies; what runs on hosts goes on, and the next round follows it"
HELPS = {
    sqlite3.SQLITE_FULL: ROOM,
    sqlite3.SQLITE_IOERR_SHMSIZE: ROOM,
    sqlite3.SQLITE_BUSY: "another process writes it; see what runs: crashcart runs",
}
WRITABLE = {
    errno.ENOSPC: ROOM,
    errno.EROFS: "mount that disk so that it can be written (a fault makes the kernel mount it so, too: dmesg)",
}
COLUMNS = Job.__struct_fields__


def place(fleet: Fleet) -> Path:
    """Where the ledger of a fleet lies. Raises Refused."""
    return Path(fleet.ledger) if fleet.ledger else folders.state("fleet") / "ledger.sqlite"


class Ledger:
    """Used by several threads of one process; a second process may read meanwhile. A context manager.

    patience: s that another process may write. What asks and writes raises Failed where the file cannot be used.
    """

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._base = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
            try:
                self._base.execute("pragma journal_mode=wal")
                self._base.execute("pragma synchronous=full")
                self._made()
            except BaseException:
                self._base.close()
                raise
        except OSError as error:
            raise Refused(f"ledger {path}: {error.strerror}", WRITABLE.get(error.errno or 0, ONLY_A_MEMORY)) from None
        except sqlite3.Error as error:
            raise Refused(f"ledger {path}: {_said(error)}", _helps(error)) from None
        except Failed as failed:
            raise Refused(failed.why, failed.what_helps) from None

    def _made(self) -> None:
        with self._written():
            (version,) = self._base.execute("pragma user_version").fetchone()
            if version == 0:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    self._base.execute(statement)
                self._base.execute(f"pragma user_version={VERSION}")
        if version > VERSION:
            raise Refused(f"ledger {self.path} is of a newer crashcart ({version})", "use that one, or a new file")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """One at a time; what sqlite says of the file is said in words. Raises Failed."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise Failed(f"ledger {self.path}: {_said(error)}", _helps(error)) from None

    @contextmanager
    def _written(self) -> Iterator[None]:
        """One change, whole or not at all."""
        with self._told():
            self._base.execute("begin immediate")
            try:
                yield
                self._base.execute("commit")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk may have ended it already
                    self._base.execute("rollback")
                raise

    def _rows(self, question: str, given: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._told():
            return self._base.execute(question, given).fetchall()

    def _read(self, row: tuple[Any, ...], how: Callable[[tuple[Any, ...]], T]) -> T:
        try:
            return how(row)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise Failed(f"ledger {self.path}: a row is damaged: {error}", ONLY_A_MEMORY) from None

    # ── guests ──

    def guests(self) -> list[Known]:
        """Every guest that was ever seen, by name."""
        return [self._read(row, _known) for row in self._rows("select * from guest order by name")]

    def saw(self, found: Sequence[tuple[Guest, str, str]], now: float, answered: Sequence[str]) -> None:
        """Note guests that were found, each with its name in repositories and its policy.

        answered: the hosts that were asked and answered: who was last on one of them and is not found is gone.
        """
        with self._written():
            self._base.executemany(
                "insert into guest values (?, ?, ?, ?, ?, ?, ?, null, ?) on conflict (uuid) do update set"
                " name = excluded.name, host = excluded.host, policy = excluded.policy, seen = excluded.seen,"
                " gone = null, guest = excluded.guest",
                [
                    (guest.uuid, vm, guest.name, guest.host, policy, now, now, msgspec.json.encode(guest))
                    for guest, vm, policy in found
                ],
            )
            for host in answered:
                self._base.execute(
                    "update guest set gone = ? where host = ? and seen < ? and gone is null", (now, host, now)
                )

    # ── jobs ──

    def jobs(self, where: str = "1", given: Sequence[Any] = ()) -> list[Job]:
        """Jobs that a condition in SQL fits, in the order of their planning."""
        found = self._rows(f"select {', '.join(COLUMNS)} from job where {where} order by planned, key", given)  # noqa: S608
        return [self._read(row, _job) for row in found]

    def job(self, key: str) -> Job | None:
        """The job of that key."""
        return next(iter(self.jobs("key = ?", (key,))), None)

    def open_jobs(self) -> list[Job]:
        """Those that are neither done nor given up: what a controller that was killed takes up."""
        return self.jobs(f"state not in ({', '.join('?' * len(ENDED))})", ENDED)

    def newest(self, kind: Kind = "backup", until: float = FOREVER) -> dict[tuple[str, str], Job]:
        """By guest and repository: the job that was planned last. until: one that was planned for later, in Unix time
        in s, was so by a clock that was wrong.
        """
        return self._newest("kind = ? and planned <= ?", (kind, until))

    def newest_good(self, kind: Kind = "backup", until: float = FOREVER) -> dict[tuple[str, str], Job]:
        """By guest and repository: the job that ended well last."""
        return self._newest("kind = ? and state in ('done', 'warned') and planned <= ?", (kind, until))

    def newest_tried(self, kind: Kind = "backup", until: float = FOREVER) -> dict[tuple[str, str], Job]:
        """By guest and repository: what came out last, well or badly; none that waits, runs or was missed."""
        marks = ", ".join("?" * len(TRIED))
        return self._newest(f"kind = ? and state in ({marks}) and planned <= ?", (kind, *TRIED, until))

    def _newest(self, where: str, given: Sequence[Any]) -> dict[tuple[str, str], Job]:
        last = f"select key from job as own where uuid = each.uuid and repository = each.repository and {where}"  # noqa: S608  our own words
        found = self._rows(
            f"select {', '.join(COLUMNS)} from job where key in (select ({last} order by planned desc limit 1)"  # noqa: S608
            " from (select distinct uuid, repository from job) as each)",
            given,
        )
        return {(job.uuid, job.repository): job for job in (self._read(row, _job) for row in found)}

    def stored(self, repository: str, since: float) -> int:
        """Bytes that jobs which ended since then (Unix time in s) brought into a repository."""
        ((found,),) = self._rows("select sum(stored) from job where repository = ? and ended >= ?", (repository, since))
        return int(found or 0)

    def keep(self, *jobs: Job) -> None:
        """Write jobs, whether they were known or not."""
        marks = ", ".join("?" * len(COLUMNS))
        with self._written():
            self._base.executemany(
                f"insert or replace into job ({', '.join(COLUMNS)}) values ({marks})",  # noqa: S608  our own words
                [_row(job) for job in jobs],
            )

    def note(self, key: str, state: State, **changed: Any) -> None:
        """Change columns of one job."""
        values = {"state": state, **changed}
        with self._written():
            self._base.execute(
                f"update job set {', '.join(f'{name} = ?' for name in values)} where key = ?",  # noqa: S608
                [*(_plain(name, value) for name, value in values.items()), key],
            )

    # ── what else is to be remembered, by name ──

    def remember(self, name: str, value: Any, now: float) -> None:
        """Keep any plain value under a name."""
        self.remember_all({name: value}, now)

    def remember_all(self, values: Mapping[str, Any], now: float) -> None:
        """The same of several names, all or none."""
        rows = [(name, msgspec.json.encode(value), now) for name, value in values.items()]
        with self._written():
            self._base.executemany("insert or replace into kept values (?, ?, ?)", rows)

    def remembered(self, name: str, kind: type[T]) -> T | None:
        """The value under that name, of that type; None where there is none."""
        rows = self._rows("select value from kept where name = ?", (name,))
        return self._read(rows[0], lambda row: msgspec.json.decode(row[0], type=kind | None)) if rows else None


def _helps(error: sqlite3.Error) -> str:
    code = _code(error)
    return HELPS.get(code) or HELPS.get(code & 0xFF, ONLY_A_MEMORY)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0)


def _said(error: sqlite3.Error) -> str:
    """What sqlite says; it calls a disk without room for the file beside the ledger a fault of the disk."""
    return "its disk is full" if _code(error) == sqlite3.SQLITE_IOERR_SHMSIZE else str(error)


LISTS = ("disks", "warnings", "points")


def _plain(name: str, value: Any) -> Any:
    return msgspec.json.encode(value) if name in LISTS else value


def _row(job: Job) -> tuple[Any, ...]:
    return tuple(_plain(name, getattr(job, name)) for name in COLUMNS)


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in LISTS:
        values[name] = tuple(msgspec.json.decode(values[name]))
    return Job(**values)


def _known(row: tuple[Any, ...]) -> Known:
    uuid, vm, name, host, policy, first, seen, gone, guest = row
    told = msgspec.json.decode(guest, type=Guest)
    return Known(uuid=uuid, vm=vm, name=name, host=host, policy=policy, first=first, seen=seen, gone=gone, guest=told)
