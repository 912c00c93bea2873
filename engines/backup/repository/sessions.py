"""Who works in a repository: a file a process, so that nothing needs a lock and a killed one explains itself."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from engines.backup.errors import no_room_at_all
from engines.backup.names import HEX32
from engines.backup.store.store import Store
from engines.host.holder import Holder, boot_id, me
from engines.host.machine import hardware, machine_id, other
from engines.job.errors import Refused

FOREIGN = 1800.0  # s without a touch after which a process of another host counts as dead
KEPT = 7 * 86400.0  # s that the packs of a killed backup wait for the next one
TOUCH = 60.0  # s between touches

_over: set[str] = set()  # sessions of this process that ended: their files may stay where a store cannot be written


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One process at work. `kind` is write (stores records), read or gc; `does` says what in words.

    machine: the id of its machine (machine-id(5)), which a reboot does not change.
    hardware: what tells that machine from a clone of its disk.
    pins: files of points that must stay. sees: names in condemned/ that this session knows; None before it looked.
    ended: it failed or was stopped, and what it stored waits for the next backup.
    """

    id: str
    kind: str
    does: str
    host: str
    pidns: str
    holder: Holder
    began: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    machine: str = ""
    hardware: tuple[str, ...] = ()
    disk: str = ""
    pins: tuple[str, ...] = ()
    sees: tuple[str, ...] | None = None
    ended: bool = False

    @property
    def path(self) -> str:
        """Its file."""
        return f"sessions/{self.id}.json"

    def here(self) -> bool:
        """Whether its process would be visible from this one."""
        return self.host == host() and self.holder.boot == boot_id() and self.pidns == pid_namespace()

    def before_a_reboot(self) -> bool:
        """Whether it was a process of this machine, of an earlier boot; not of a clone that has its name and id."""
        same = self.machine == machine_id() and self.host == host() and not other(self.hardware, hardware())
        return bool(self.machine) and same and self.holder.boot != boot_id()

    def explained(self, *, alive: bool) -> str:
        """One line for people."""
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.began))
        state = "at work" if alive else ("ended early" if self.ended else "was killed")
        return f"{self.does}: process {self.holder.pid} on {self.host}, began {since}, {state}"


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def pid_namespace() -> str:
    """Which process ids these are."""
    return str(Path("/proc/self/ns/pid").readlink())


class Presence:
    """This process's own session file, there within the `with`.

    `stores` is set once it begins a pack: then an error leaves the file, so that gc spares the packs for a while.
    Where nothing can be written, one that reads works without a file; gc does not spare what it reads then.
    """

    def __init__(self, store: Store, kind: str, does: str, *, disk: str = "", pins: tuple[str, ...] = ()) -> None:
        self._store = store
        self._touched = time.monotonic()
        self.stores = False
        self._shown = True
        self.session = Session(
            id=os.urandom(16).hex(),
            kind=kind,
            does=does,
            host=host(),
            pidns=pid_namespace(),
            holder=me(),
            began=time.time(),
            machine=machine_id(),
            hardware=hardware(),
            disk=disk,
            pins=pins,
        )

    def __enter__(self) -> Presence:
        try:
            sweep(self._store)
            self._store.put(self.session.path, msgspec.json.encode(self.session), durable=False)
        except OSError as error:
            if not self._reads:
                raise no_room_at_all(self._store.where, error) from None
            self._shown = False
        return self

    @property
    def _reads(self) -> bool:
        return self.session.kind == "read"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _over.add(self.session.id)
        self._store.release()
        if kind is not None and self.stores:
            self.session = msgspec.structs.replace(self.session, ended=True)
            with contextlib.suppress(OSError):  # a full disk; the file as it was then counts once the process is gone
                self._write()
            return
        if self._shown:
            with contextlib.suppress(OSError):  # the work is done; a file that stays is swept once the process is gone
                self._store.delete(self.session.path)

    @property
    def key(self) -> bytes:
        """The session's id as 16 bytes."""
        return bytes.fromhex(self.session.id)

    def update(self, *, pins: tuple[str, ...] | None = None, sees: tuple[str, ...] | None = None) -> None:
        """Say what else must stay, and what was seen."""
        before = self.session
        self.session = msgspec.structs.replace(
            before,
            pins=before.pins if pins is None else pins,
            sees=before.sees if sees is None else sees,
        )
        if self.session != before:
            self._write()

    def _write(self) -> None:
        if self._shown:
            with self._forgiven():
                self._store.put(self.session.path, msgspec.json.encode(self.session), durable=False)

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        """One that reads goes on where its file can no longer be written."""
        try:
            yield
        except (OSError, Refused):
            if not self._reads:
                raise

    def touch(self) -> None:
        """Show other hosts that this process is alive; cheap to call often."""
        if self._shown and time.monotonic() - self._touched > TOUCH:
            self._touched = time.monotonic()
            with self._forgiven():
                self._store.touch(self.session.path)


def every(store: Store) -> list[Session]:
    """All sessions that have a file; one that cannot be read counts as a writer of another host."""
    found = []
    for name, content in store.read_all(list(store.names("sessions")), 1 << 20):
        stem = name.removeprefix("sessions/").removesuffix(".json")
        if not HEX32.match(stem) or isinstance(content, FileNotFoundError):
            continue
        if isinstance(content, OSError):
            found.append(_unknown(stem))  # somebody else's, whom we may not look at
            continue
        try:
            session = msgspec.json.decode(content, type=Session)
            found.append(msgspec.structs.replace(session, id=stem))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            found.append(_unknown(stem))
    return found


def _unknown(stem: str) -> Session:
    holder = Holder(0, 0, "")
    return Session(
        id=stem, kind="write", does="a session that cannot be read", host="?", pidns="", holder=holder, began=0.0
    )


def alive(store: Store, session: Session) -> bool:
    """Whether its process still works."""
    if session.ended or session.id in _over or session.before_a_reboot():
        return False
    if session.here():
        return session.holder.alive()
    try:
        return store.age(session.path) < FOREIGN
    except FileNotFoundError:
        return False


def living(store: Store) -> list[Session]:
    """Those whose process still works."""
    return [session for session in every(store) if alive(store, session)]


def killed(store: Store) -> list[Session]:
    """Those whose process is gone without having cleaned up."""
    return [session for session in every(store) if not alive(store, session)]


def sweep(store: Store) -> None:
    """Remove the files of killed sessions that stored nothing; those of backups are kept for gc and the next backup."""
    for session in killed(store):
        if session.kind != "write":
            with contextlib.suppress(FileNotFoundError):  # somebody else swept it
                store.delete(session.path)
