"""The NBD server's socket and its threads: whose it is, what it replaces, and that it idles."""

from __future__ import annotations

import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from engines.backup.nbd.server import NbdServer, serving
from engines.job.errors import Refused
from tests.engines.backup.lab import MIB
from tests.engines.backup.nbd.peer import Disk, peer, run, uri


def test_the_socket_is_the_owners_alone_and_goes_with_the_server() -> None:
    with serving(Disk(bytes(MIB))) as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
        path = server.path
    assert not path.parent.exists()


def test_a_dead_socket_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    place = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(place))
    dead.close()
    with NbdServer(Disk(bytes(MIB)), place) as first:
        assert "1 MiB" in run("qemu-img", "info", uri(first))
        with pytest.raises(Refused, match="somebody listens"):
            NbdServer(Disk(bytes(MIB)), place).start()
    assert not place.exists()
    place.write_text("a file")
    with pytest.raises(Refused, match="no socket"):
        NbdServer(Disk(bytes(MIB)), place).start()
    assert place.read_text() == "a file"
    with pytest.raises(Refused, match="longer"):
        NbdServer(Disk(bytes(MIB)), tmp_path / ("x" * 108)).start()
    with pytest.raises(Refused, match="no folder"):
        NbdServer(Disk(bytes(MIB)), tmp_path / "nowhere" / "s").start()


def test_an_idle_server_with_idle_clients_takes_no_cpu(small: NbdServer) -> None:
    with peer(small) as one, peer(small) as other:
        assert one.read(0, 1) and other.read(0, 1)
        names = {thread.native_id for thread in threading.enumerate() if thread.name.startswith("nbd ")}
        assert len(names) >= 3
        for _ in range(60):  # the last answers' threads lie down, at some time
            before = sum(switches(each) for each in names)
            time.sleep(1.0)
            if sum(switches(each) for each in names) == before:
                return
        pytest.fail("its threads are woken all the time")


def switches(thread: int | None) -> int:
    """How often the kernel has let a thread run."""
    lines = Path(f"/proc/self/task/{thread}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
