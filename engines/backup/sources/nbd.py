"""qcow2 images, read through qemu's own NBD server, so that no one else's parser touches them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from engines.backup.device import Device
from engines.backup.sources import Format, Source
from engines.boot.child import bind_to_parent
from engines.job.errors import Failed, Refused

OPTION = 0x49484156454F5054  # "IHAVEOPT"; the NBD protocol, doc/proto.md
REQUEST, REPLY = 0x25609513, 0x67446698
EXPORT_NAME, READ, DISCONNECT = 1, 0, 2
NO_ZEROES = 2  # flag: no padding after the handshake


class Extent(msgspec.Struct):
    """One line of `qemu-img map`."""

    start: int
    length: int
    zero: bool = False
    data: bool = True


class Qcow2:
    """Opens qcow2 images; see Opener."""

    def knows(self, where: Path, form: Format) -> bool:
        """See Opener."""
        return form == "qcow2" or (form == "auto" and where.suffix.lower() == ".qcow2" and where.is_file())

    def look(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        """See Opener."""
        return self.open(where, form)

    @contextmanager
    def open(self, where: Path, form: Format) -> Iterator[Source]:  # noqa: ARG002  it is qcow2
        """See Opener."""
        extents = _map(where)
        with tempfile.TemporaryDirectory(prefix="crashcart-nbd-") as folder:
            path = Path(folder) / "s"
            with _serving(where, path):
                source = NbdSource(where, path, extents)
                try:
                    yield source
                finally:
                    source.close()


def _map(where: Path) -> list[Extent]:
    command = ["qemu-img", "map", "--output=json", "-f", "qcow2", str(where)]
    try:
        said = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise Refused("qemu-img is not installed", "apt-get install qemu-utils") from None
    if said.returncode:
        raise _refused(where, said.stderr)
    return msgspec.json.decode(said.stdout, type=list[Extent])


def _refused(where: Path, said: bytes) -> Refused:
    words = said.decode("utf-8", "replace").strip().splitlines()
    if any("lock" in word for word in words):
        return Refused(f"{where} is in use by a virtual machine", "shut it down, or back up a snapshot of it")
    return Refused(f"{where}: {words[-1] if words else 'qemu does not open it'}", "name a whole qcow2 image")


@contextmanager
def _serving(where: Path, path: Path) -> Iterator[None]:
    command = [
        "qemu-nbd", "--read-only", "--persistent", "--format=qcow2", "--shared=8", "--cache=writeback",
        "--discard=ignore", f"--socket={path}", str(where),
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=bind_to_parent(),
    ) as server:
        try:
            deadline = time.monotonic() + 60.0
            while not _listens(path):
                if server.poll() is not None or time.monotonic() > deadline:
                    server.kill()
                    raise _refused(where, server.communicate()[1])
                time.sleep(0.01)
            yield
        finally:
            server.kill()


def _listens(path: Path) -> bool:
    """Whether the server takes connections: its socket is there a moment before it does."""
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(str(path))
        except OSError:
            return False
        return True


class NbdSource:
    """A disk behind an NBD server at a socket; every thread has a connection of its own. See Source."""

    def __init__(self, where: Path, path: Path, extents: list[Extent]) -> None:
        self._where = where
        self._path = path
        self._extents = [extent for extent in extents if not extent.zero]
        self._local = threading.local()
        self._opened: list[socket.socket] = []
        self.size = self._connection()[1]
        found = where.stat()
        self.words = f"qcow2 image {where}"
        self.identity = f"{found.st_dev} {found.st_ino} {self.size}"
        self.consistency = "at rest"
        self.warnings: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.left_behind: tuple[str, ...] = ()
        self.reads_from: Device | str = "another process reads it"

    def _connection(self) -> tuple[socket.socket, int]:
        if not hasattr(self._local, "peer"):
            self._local.peer = _connect(self._path)
            self._opened.append(self._local.peer[0])
        found: tuple[socket.socket, int] = self._local.peer
        return found

    def close(self) -> None:
        """Hang up."""
        for peer in self._opened:
            with contextlib.suppress(OSError):  # the server may be gone
                peer.sendall(struct.pack(">IHHQQI", REQUEST, 0, DISCONNECT, 0, 0, 0))
            peer.close()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See Source."""
        peer, _ = self._connection()
        try:
            peer.sendall(struct.pack(">IHHQQI", REQUEST, 0, READ, offset, offset, len(buffer)))
            magic, error, handle = struct.unpack(">IIQ", _exactly(peer, 16))
            if magic == REPLY and handle == offset and not error:
                _fill(peer, buffer)
                return
            why = os.strerror(error) if error else "an answer out of turn"
        except OSError as trouble:
            why = trouble.strerror or str(trouble)
        raise Failed(f"{self._where} cannot be read at byte {offset}: {why}", "no point was made; see qemu-img check")

    def extents(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """See Source."""
        for extent in self._extents:
            low, high = max(start, extent.start), min(end, extent.start + extent.length)
            if low < high:
                yield low, high

    def changed(self, since: str) -> list[tuple[int, int]] | None:  # noqa: ARG002  nobody kept record
        """See Source."""
        return None

    def ahead(self, offset: int) -> None:
        """See Source: the pages are qemu's."""

    def at_hand(self, offset: int) -> bool:  # noqa: ARG002  every read is a question to qemu
        """See Source."""
        return False

    def behind(self, offset: int) -> None:
        """See Source: the pages are qemu's."""

    def check(self) -> None:
        """See Source: qemu keeps others from writing."""


def _connect(path: Path) -> tuple[socket.socket, int]:
    """A connection in transmission, and the size in bytes."""
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(60.0)
        peer.connect(str(path))
        magic, option, flags = struct.unpack(">8sQH", _exactly(peer, 18))
        if magic != b"NBDMAGIC" or option != OPTION:
            raise Failed("qemu-nbd speaks another protocol", "install qemu-utils 2.5 or later")
        peer.sendall(struct.pack(">IQII", flags & NO_ZEROES | 1, OPTION, EXPORT_NAME, 0))
        size, _ = struct.unpack(">QH", _exactly(peer, 10))
        if not flags & NO_ZEROES:
            _exactly(peer, 124)
    except BaseException:
        peer.close()
        raise
    return peer, size


def _exactly(peer: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    _fill(peer, memoryview(buffer))
    return bytes(buffer)


def _fill(peer: socket.socket, view: memoryview) -> None:
    while view:
        count = peer.recv_into(view)
        if not count:
            raise ConnectionResetError("qemu-nbd hung up")
        view = view[count:]
