"""Stores records once each: looks them up, compresses in the calling thread, appends to the open pack."""

from __future__ import annotations

import os
import threading

from engines.backup.errors import no_room
from engines.backup.repository import record
from engines.backup.repository.pack import OpenPack
from engines.backup.repository.record import Codec
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.store.uplink import Uplink

Content = bytes | bytearray | memoryview


class Writer:
    """The one writer of a session; its methods may be called from several threads.

    written: bytes of the records that it stored. packs: those it sealed.
    uplink: what holds the writing back. used: packs in which it found what it need not store.
    """

    def __init__(self, repository: Repository, presence: Presence, uplink: Uplink | None = None) -> None:
        self._uplink = uplink or Uplink()
        self._repository = repository
        self._presence = presence
        self._lock = threading.Lock()
        self._pending: set[bytes] = set()
        self._open: OpenPack | None = None
        self.written = 0
        self.packs: list[bytes] = []
        self.used: set[bytes] = set()

    @property
    def codec(self) -> Codec:
        """What makes ids."""
        return self._repository.codec

    def store(self, kind: int, name: bytes, content: Content) -> bool:
        """Have the record stored; False where it was already. Raises Failed where there is no room."""
        with self._lock:
            if name in self._pending or self._known(name):
                return False
            self._pending.add(name)
        self._append(kind, name, content)
        return True

    def _known(self, name: bytes) -> bool:
        index = self._repository.index
        for place in index.find(name):
            if place.pack not in index.condemned:
                self.used.add(place.pack)
                return True
        return False

    def _append(self, kind: int, name: bytes, content: Content) -> None:
        head, payload, header = self._repository.codec.encode(kind, name, content)
        full = None
        self._uplink.take(len(head) + len(payload))
        with self._lock, self._room():
            opened = self._open = self._open or self._begin()
            place = opened.add(head, payload, header)
            self.written += place.size
            if opened.size >= self._repository.config.pack:
                full, self._open = opened, None
        if full:
            with self._room():
                self._seal(full)

    def _begin(self) -> OpenPack:
        self._presence.stores = True
        return OpenPack.begin(self._repository.store, self._repository.id, os.urandom(16), self._presence.key)

    def _seal(self, opened: OpenPack) -> None:
        opened.seal()
        with self._lock:
            self._repository.index.add(opened.pack, opened.places)
            self._pending.difference_update(place.id for place in opened.places)
            self.packs.append(opened.pack)

    def _room(self) -> _Room:
        return _Room(self._repository.store.where)

    def put(self, kind: int, content: Content) -> bytes:
        """Store a record whatever is known of it; its id."""
        name = self._repository.codec.id(kind, content)
        self._append(kind, name, content)
        return name

    def add(self, head: bytes, payload: Content, header: record.Header) -> None:
        """Append a record that was made before, as gc does."""
        full = None
        self._uplink.take(len(head) + len(payload))
        with self._lock, self._room():
            opened = self._open = self._open or self._begin()
            self.written += opened.add(head, payload, header).size
            if opened.size >= self._repository.config.pack:
                full, self._open = opened, None
        if full:
            with self._room():
                self._seal(full)

    def push(self) -> None:
        """Begin to make durable what was stored; for the thread that waits for the others."""
        opened = self._open
        if opened:
            opened.push()

    def finish(self) -> None:
        """Seal what is open. Raises Failed where there is no room."""
        opened, self._open = self._open, None
        if opened:
            with self._room():
                self._seal(opened)

    def leave(self) -> None:
        """Something went wrong: keep what can be kept for the next backup."""
        opened, self._open = self._open, None
        if opened is None:
            return
        try:
            self._seal(opened)
        except OSError:
            opened.abandon()


class _Room:
    """Turns a full disk into words."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise no_room(self._where, error) from None
