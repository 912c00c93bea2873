"""The process that keeps one restore point's appliance warm, until nobody has asked for a while.

It outlives the command that started it, on purpose: that is what it is for. It ends by itself when it is idle, when
its point is taken out or its socket is gone, and on SIGTERM; its appliance ends with it however it ends.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from engines.backup import names
from engines.backup.files.appliance import protocol, registry
from engines.backup.files.appliance.driver import GuestfsDisk, open_libguestfs
from engines.backup.files.appliance.protocol import Ask, KeeperRequest, Trouble
from engines.backup.files.model import NoSuchFile
from engines.backup.nbd.server import listening
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.host.holder import me
from engines.job.contract import Cancel
from engines.job.errors import CrashcartError, Stopped
from engines.job.params import Secret

LOOKS = 5  # times within the idle time that it looks whether point and socket are still there
AGAIN = 3.0  # s for which a failure to start is told, before the next attempt may begin
QUIET = 5.0  # s without a question after which its appliance is halted, and it makes room for another keeper
NOTED = 1.0  # s between updates of the note's time
MANY, PIECE = 500, 2 << 20  # entries and bytes in one part of an answer


class Keeper:
    """Answers questions about one point from threads of their own."""

    def __init__(self, wanted: KeeperRequest, name: str) -> None:
        self._wanted, self._name = wanted, name
        self._cancel = Cancel()
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._disk: GuestfsDisk | None = None
        self._trouble: Exception | None = None
        self._lock = threading.Lock()
        self._busy = 0
        self._used = self._noted = time.monotonic()
        self._idle = wanted.idle
        self._held = ExitStack()
        self._repository: Repository | None = None

    def end(self, *_: object) -> None:
        """From any thread, or as a signal's handler."""
        self._ended.set()

    def run(self) -> None:
        """Until it ends."""
        path = registry.socket_of(self._name)
        listener = listening(path)
        inode = path.stat().st_ino
        threading.Thread(target=self._open, name="open", daemon=True).start()
        threading.Thread(target=self._accept, args=(listener,), name="accept", daemon=True).start()
        try:
            while not self._ended.wait(self._pause()):
                if self._is_over(path, inode):
                    break
                self._rest()
        finally:
            self._ended.set()
            self._cancel.set()
            with suppress(OSError):  # gone already, or a folder that is
                if path.stat().st_ino == inode:
                    registry.forget(self._name)
            self._ready.wait(30.0)
            if self._disk is not None:
                self._disk.close()
            self._held.close()

    def _pause(self) -> float:
        if self._busy:
            return QUIET
        since = time.monotonic() - self._used
        return max(0.1, min(self._idle / LOOKS, self._idle - since, QUIET - since if since < QUIET else self._idle))

    def _rest(self) -> None:
        quiet = not self._busy and time.monotonic() - self._used >= QUIET
        if quiet and self._ready.is_set() and self._disk is not None:
            self._disk.rest()

    def _is_over(self, path: Path, inode: int) -> bool:
        try:
            if path.lstat().st_ino != inode:
                return True
        except OSError:
            return True
        if not self._busy and time.monotonic() - self._used >= self._idle:
            return True
        return self._ready.is_set() and self._trouble is None and not self._is_there()

    def _is_there(self) -> bool:
        """Whether the point has not been taken out; a repository out of reach is no reason to end."""
        name = names.parse(self._wanted.point)
        assert self._repository is not None
        try:
            return name in self._repository.disks(name.vm, name.disk)
        except (OSError, CrashcartError):
            return True

    def _open(self) -> None:
        try:
            given = Secret(self._wanted.passphrase) if self._wanted.passphrase else None
            self._repository = Repository.open(self._wanted.repo, Unlock(self._wanted.key_file, given))
            name = names.parse(self._wanted.point)
            source = self._held.enter_context(open_point(self._repository, name, "keeping warm"))
            self._disk = open_libguestfs(source, self._cancel)
        except Exception as error:  # noqa: BLE001  told to everyone who asks
            self._trouble = error
        self._used = time.monotonic()
        self._ready.set()
        if self._disk is not None:
            self._mount(self._disk)
        else:
            self._ended.wait(AGAIN)
            self.end()

    def _mount(self, disk: GuestfsDisk) -> None:
        """All there is, before somebody asks: a journal may take seconds."""
        for info in disk.infos():
            if info.drivers and not self._ended.is_set():
                with suppress(CrashcartError):  # whoever asks for it is told
                    disk.open(info)

    # ── those who ask ───────────────────────────────────────────────────────────────────────────────

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                time.sleep(1.0)  # out of descriptors
                continue
            threading.Thread(target=self._serve, args=(peer,), name="peer", daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):  # it hung up
            while True:
                ask = protocol.take(peer, Ask)
                if ask.call == "leave":  # nobody waits for an answer to that
                    self._leave()
                    continue
                self._use(1)
                try:
                    self._answer(peer, ask)
                finally:
                    self._use(-1)

    def _use(self, more: int) -> None:
        with self._lock:
            self._busy += more
            self._used = time.monotonic()
        if self._used - self._noted > NOTED:
            self._noted = self._used
            with suppress(OSError):
                os.utime(registry.note_of(self._name))

    def _leave(self) -> None:
        if not self._busy and time.monotonic() - self._used > QUIET:
            self.end()

    def _answer(self, peer: socket.socket, ask: Ask) -> None:
        try:
            self._ready.wait()
            if self._trouble is not None:
                raise self._trouble
            assert self._disk is not None
            if self._ended.is_set():
                raise Stopped()
            for part in parts(self._disk, ask, lambda data: protocol.answer(peer, "part", data)):
                protocol.answer(peer, "part", part)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  told to the one who asked
            protocol.answer(peer, "trouble", Trouble.of(error))
        else:
            protocol.answer(peer, "end")


class TarStream:
    """What a tar is written to."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.write = send


def parts(disk: GuestfsDisk, ask: Ask, send: Callable[[bytes], None]) -> Iterator[Any]:
    """The answer to one question, in pieces that fit a message."""
    if ask.call == "infos":
        yield disk.infos()
        return
    info = next((each for each in disk.infos() if each.name == ask.volume), None)
    if info is None:
        raise NoSuchFile(f"{ask.volume}: there is no such volume")
    volume = disk.open(info)
    match ask.call:
        case "open":
            yield volume.state, volume.default, dict(volume.subvolumes)
        case "stat":
            yield volume.stat(ask.path)
        case "list":
            yield from _batches(volume.list(ask.path))
        case "extents":
            yield from _batches(volume.extents(ask.path))
        case "attributes":
            yield volume.attributes(ask.path)
        case "read":
            for at in range(ask.offset, ask.offset + ask.length, PIECE):
                piece = volume.read(ask.path, at, min(PIECE, ask.offset + ask.length - at))
                yield piece
                if not piece:
                    return
        case "tar_out":
            volume.tar_out(ask.path, TarStream(send))


def _batches(entries: Iterator[Any]) -> Iterator[list[Any]]:
    """The first is small: it is on a screen sooner."""
    count = MANY // 10
    while batch := list(islice(entries, count)):
        yield batch
        count = MANY


def main() -> int:
    """Keep what stdin names; end at once where another process keeps it already."""
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=KeeperRequest)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    name = registry.key(wanted.repo, wanted.point)
    lock = os.open(registry.folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    keeper = Keeper(wanted, name)
    signal.signal(signal.SIGTERM, keeper.end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    note = registry.KeeperNote(me(), wanted.point, wanted.repo)
    registry.note_of(name).write_bytes(msgspec.json.encode(note))
    keeper.run()
    return 0


if __name__ == "__main__":
    code = main()
    os._exit(code)  # threads of those who still ask are not waited for
