"""qemu's own NBD server over one qcow2 image, so that no one else's parser touches it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.host.child import bounded
from engines.host.image import Layers, opened
from engines.host.qemu_img import QemuImgFailed, qemu_img
from engines.job.errors import Refused

STARTS_WITHIN = 60.0  # s
MEMORY = 4 << 30  # bytes of address space; it takes 1 GiB to serve eight connections


@contextmanager
def serving(layers: Layers, path: Path, *options: str) -> Iterator[int]:
    """The image at a socket, read-only, within the `with`; the server's process id. Raises Refused.

    layers: its file and those below it.
    """
    where = layers[0][0]
    command = [
        "qemu-nbd", "--read-only", "--persistent", "--shared=8", "--cache=writeback",
        "--discard=ignore", *options, f"--socket={path}", opened(layers),
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=bounded(MEMORY),
    ) as server:
        try:
            deadline = time.monotonic() + STARTS_WITHIN
            while not _listens(path):
                if server.poll() is not None or time.monotonic() > deadline:
                    server.kill()
                    raise refused(where, server.communicate()[1])
                time.sleep(0.01)
            yield server.pid
        finally:
            server.kill()


def asked(where: Path, *argv: str) -> bytes:
    """What qemu-img prints. Raises Refused."""
    try:
        return qemu_img(*argv)
    except QemuImgFailed as failed:
        if failed.missing:
            raise Refused("qemu-img is not installed", "apt-get install qemu-utils") from None
        raise refused(where, str(failed).encode()) from None


def refused(where: Path, said: bytes) -> Refused:
    """Why qemu does not open an image, in a technician's words."""
    words = said.decode("utf-8", "replace").strip().splitlines()
    if any("lock" in word or "another process" in word for word in words):
        return Refused(
            f"{where} is in use by a virtual machine", "shut it down, or have it hold a moment itself: --qmp SOCKET"
        )
    return Refused(f"{where}: {words[-1] if words else 'qemu does not open it'}", "name a whole qcow2 image")


def _listens(path: Path) -> bool:
    """Whether the server takes connections: its socket is there a moment before it does."""
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(str(path))
        except OSError:
            return False
        return True
