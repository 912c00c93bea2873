"""The first words with an NBD server at a socket, and reading from it. Source: the NBD protocol, doc/proto.md."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from engines.backup.nbd_wire import (
    FIXED_NEWSTYLE,
    GREETING,
    NO_ZEROES,
    OPTION,
    OPTION_FORM,
    REQUEST,
    REQUEST_FORM,
    Cmd,
    Opt,
)
from engines.job.errors import Failed

PATIENCE = 60.0  # s


def hello(path: Path) -> socket.socket:
    """A connection that awaits options. Raises OSError, Failed where the server is none that is understood."""
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        magic, option, flags = struct.unpack(">8s8sH", exactly(peer, 18))
        if magic != GREETING or option != OPTION or not flags & NO_ZEROES:
            raise Failed("qemu-nbd speaks another protocol", "install qemu-utils 2.8 or later")
        peer.sendall(struct.pack(">I", NO_ZEROES | FIXED_NEWSTYLE))
    except BaseException:
        peer.close()
        raise
    return peer


def exactly(peer: socket.socket, count: int) -> bytes:
    """The next `count` bytes. Raises OSError."""
    buffer = bytearray(count)
    fill(peer, memoryview(buffer))
    return bytes(buffer)


def fill(peer: socket.socket, view: memoryview) -> None:
    """Fill `view`. Raises OSError."""
    while view:
        count = peer.recv_into(view)
        if not count:
            raise ConnectionResetError("qemu-nbd hung up")
        view = view[count:]


def option(peer: socket.socket, kind: Opt, content: bytes = b"") -> None:
    """Ask for an option. Raises OSError."""
    peer.sendall(OPTION_FORM.pack(OPTION, kind, len(content)) + content)


def command(peer: socket.socket, kind: Cmd, offset: int = 0, length: int = 0) -> None:
    """Send a command; its cookie is the offset. Raises OSError."""
    peer.sendall(REQUEST_FORM.pack(REQUEST, 0, kind, offset, offset, length))
