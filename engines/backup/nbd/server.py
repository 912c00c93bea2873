"""Serves a source of bytes over a unix socket until it is closed: read-only, to many clients, at no cost while idle."""

from __future__ import annotations

import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engines.backup.nbd.handshake import Handshake, NbdExport
from engines.backup.nbd.sparse import ServedBytes, Sparse
from engines.backup.nbd.transmission import Transmission
from engines.backup.nbd_wire import Hostile
from engines.backup.new_place import refuse_place
from engines.boot.scratch import Scratch
from engines.job.errors import Refused

MOST_CLIENTS = 16  # one that asks for 32 MiB in one piece costs that much memory
PATIENCE = 30.0  # s for each message of a handshake
PAUSE = 0.5  # s after a connection that this process had no room for
MOST_FAULTS = 200  # the last are kept, all are counted
PREFERRED = 1 << 20  # bytes; a repository's block
LONGEST_PATH = 107  # bytes of a unix socket's address, sockaddr_un


@dataclass(frozen=True)
class Fault:
    """Bytes that could not be vouched for, and why."""

    offset: int
    length: int
    error: Exception

    @property
    def why(self) -> str:
        """In words."""
        return str(self.error)


class NbdServer:
    """Serves from `start` to `close`. source: any Source; its `extents()`, where it has one, keep holes holes.

    name: an export name that is known besides the empty one. bytes, clients, faulty: counted since the start.
    """

    def __init__(self, source: ServedBytes, path: Path, *, name: str = "disk", description: str = "") -> None:
        self.path = path
        self.bytes = 0
        self.clients = 0
        self.faulty = 0
        self.faults: list[Fault] = []
        self.turned_away: list[str] = []
        self._source = source
        self._export = NbdExport(name.encode(), source.size, PREFERRED, description.encode())
        extents = getattr(source, "extents", None)
        self._sparse = Sparse(source.size, extents() if extents else None)
        self._lock = threading.Lock()
        self._peers: dict[socket.socket, threading.Thread] = {}
        self._socket: socket.socket | None = None
        self._accepting = threading.Thread(target=self._accept, name="nbd accept", daemon=True)

    def start(self) -> None:
        """Listen. Raises Refused."""
        self._socket = listening(self.path)
        self._inode = self.path.stat().st_ino
        self._accepting.start()

    @property
    def connected(self) -> int:
        """Clients at this moment."""
        return len(self._peers)

    def close(self) -> None:
        """Hang up on everyone and take the socket away."""
        listener, self._socket = self._socket, None
        if listener is None:
            return
        with suppress(OSError):  # another may have taken its place, or its folder is gone
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        _hang_up(listener)
        self._accepting.join()
        with self._lock:
            peers = dict(self._peers)
        for peer, thread in peers.items():
            _hang_up(peer)
            thread.join()
        listener.close()

    def __enter__(self) -> NbdServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        listener = self._socket
        assert listener is not None
        while True:
            try:
                peer, _ = listener.accept()
            except OSError as error:
                if self._socket is None:
                    return
                self._note(f"no connection: {error.strerror}")
                time.sleep(PAUSE)
                continue
            with self._lock:
                if len(self._peers) >= MOST_CLIENTS or self._socket is None:
                    peer.close()
                    continue
                thread = threading.Thread(target=self._serve, args=(peer,), name="nbd client", daemon=True)
                self._peers[peer] = thread
                self.clients += 1
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            peer.settimeout(PATIENCE)
            agreed = Handshake(peer, self._export).agree()
            if agreed is not None:
                peer.settimeout(None)
                Transmission(peer, self._source, self._sparse, agreed, self._count, self._fault).run()
        except Hostile as hostile:
            self._note(str(hostile))
        except OSError:
            return  # it hung up, or is made to
        finally:
            with self._lock:
                self._peers.pop(peer, None)
            peer.close()

    def _note(self, why: str) -> None:
        with self._lock:
            self.turned_away = [*self.turned_away, why][-MOST_FAULTS:]

    def _count(self, count: int) -> None:
        with self._lock:
            self.bytes += count

    def _fault(self, offset: int, length: int, error: Exception) -> None:
        with self._lock:
            self.faulty += 1
            self.faults = [*self.faults, Fault(offset, length, error)][-MOST_FAULTS:]


def _hang_up(peer: socket.socket) -> None:
    with suppress(OSError):  # it did so itself
        peer.shutdown(socket.SHUT_RDWR)


def listening(path: Path) -> socket.socket:
    """A 0600 unix socket at `path`, there at once and whole; a dead one in its place goes. Raises Refused."""
    refuse_unfit(path)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = -1
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Bound under a passing name in the same folder and renamed: nobody connects before it listens.
        passing = f".{secrets.token_hex(4)}"
        os.fchmod(found.fileno(), 0o600)  # it is made so; by name another's link would be followed
        found.bind(f"/proc/self/fd/{folder}/{passing}")
        found.listen(16)
        os.rename(passing, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        found.close()
        raise Refused(f"{path}: {error.strerror}", "name a socket in a folder of yours") from None
    finally:
        if folder >= 0:
            os.close(folder)
    return found


def refuse_unfit(path: Path) -> None:
    """Raises Refused where no socket can be at `path`: too long, no folder, or something there but a dead socket."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise Refused(f"{path} is longer than the {LONGEST_PATH} bytes of a socket's address", "name a shorter path")
    refuse_place(str(path), "a socket")
    if not path.parent.is_dir():
        raise Refused(f"{path.parent} is no folder", "make it first, open to yourself alone")
    try:
        known = path.lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(known.st_mode):
        raise Refused(f"{path} is there and is no socket", "name a path where nothing is")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(1.0)
        try:
            peer.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError:
            raise Refused(f"{path}: nobody answers there", "name another path") from None
    raise Refused(f"{path} is a socket that somebody listens at", "name another path, or stop that one")


@contextmanager
def serving(source: ServedBytes, *, name: str = "disk") -> Iterator[NbdServer]:
    """A server at a socket in a private folder, for children of this process."""
    with Scratch() as scratch, NbdServer(source, scratch.path / "nbd", name=name) as server:
        yield server
