"""Clients of the NBD server: one of our own that says what it likes, and others'; and a disk in memory for them."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.backup import nbd_wire as wire
from engines.backup.nbd.server import NbdServer


class Disk:
    """A source in memory; reads of `bad` fail."""

    def __init__(self, content: bytes, bad: range = range(0)) -> None:
        self.content, self.bad, self.size = content, bad, len(content)

    def read(self, offset: int, length: int) -> bytes:
        if self.bad and offset < self.bad.stop and offset + length > self.bad.start:
            raise OSError(errno.EIO, "a scratch")
        return self.content[offset : offset + length]


class Line:
    """A client that says what it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120.0)
        self.socket.connect(str(path))
        self.flags = struct.unpack(">8s8sH", self.take(18))[2]

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.socket.recv(count - len(found))
            if not part:
                raise ConnectionResetError
            found += part
        return found

    def option(self, kind: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self.socket.sendall(struct.pack(">8sII", wire.OPTION, kind, len(data)) + data)
        found = []
        while not found or (found[-1][0] != wire.Rep.ACK and found[-1][0] < 1 << 31):
            magic, option, answer, length = struct.unpack(">QIII", self.take(20))
            assert (magic, option) == (wire.OPTION_REPLY, kind)
            found.append((answer, self.take(length)))
        return found

    def begin(self) -> None:
        self.socket.sendall(struct.pack(">I", 3))
        assert self.option(wire.Opt.GO, struct.pack(">IH", 0, 0))[-1][0] == wire.Rep.ACK

    def send(
        self, kind: int, offset: int, length: int, data: bytes = b"", flags: int = 0, magic: int = wire.REQUEST
    ) -> None:
        self.socket.sendall(struct.pack(">IHHQQI", magic, flags, kind, 99, offset, length) + data)

    def error(self) -> int:
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert (magic, cookie) == (wire.SIMPLE, 99)
        return int(error)

    def read(self, offset: int, length: int) -> bytes:
        self.send(wire.Cmd.READ, offset, length)
        assert self.error() == 0
        return self.take(length)

    def gone(self) -> bool:
        """Whether the server has hung up."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def peer(server: NbdServer, *, begun: bool = True) -> Iterator[Line]:
    line = Line(server.path)
    try:
        if begun:
            line.begin()
        yield line
    finally:
        line.socket.close()


def uri(server: NbdServer) -> str:
    return f"nbd+unix:///?socket={server.path}"


def run(*command: str | Path, ok: bool = True) -> str:
    """What another project's client says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is ok, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr
