"""Of several disks that are served, the one that failed just now is named."""

from __future__ import annotations

import subprocess

from engines.backup.errors import Damaged
from engines.backup.files.appliance.driver import fault_since
from engines.backup.nbd.server import NbdServer, serving
from tests.engines.backup.files.images import MIB


class Bad:
    """A disk of which nothing can be vouched for."""

    size = MIB

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self, offset: int, length: int) -> bytes:
        raise Damaged(self._name, f"byte {offset}")


def read(server: NbdServer, at: int) -> None:
    address = f"nbd+unix:///?socket={server.path}"
    subprocess.run(["qemu-io", "-r", "-f", "raw", "-c", f"read {at} 512", address], capture_output=True, check=False)


def test_the_fault_of_a_call_is_that_of_the_disk_that_failed_meanwhile() -> None:
    with serving(Bad("first")) as one, serving(Bad("second")) as other:
        read(one, 0)
        assert one.faulty
        before = [each.faulty for each in (one, other)]
        assert fault_since((one, other), before) is None
        read(other, 4096)
        found = fault_since((one, other), before)
        assert found is not None and found.why.startswith("second: byte 4096")
        read(one, 8192)
        found = fault_since((one, other), [one.faulty - 1, other.faulty])
        assert found is not None and found.why.startswith("first: byte 8192")
