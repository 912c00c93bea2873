"""What a machine does where its QEMU may not write in its folder."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.boot import unprivileged
from engines.boot.machine import Machine
from engines.boot.media import Hardware
from engines.boot.qmp import Qmp
from tests.absent import absent


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that any user reaches; one of pytest's is below a closed one."""
    with tempfile.TemporaryDirectory() as found:
        Path(found).chmod(0o755)
        yield Path(found)


def test_qemu_keeps_its_user_where_another_cannot_reach_its_folder(passable: Path) -> None:
    if unprivileged.user(passable) is None:
        absent("this process may become no other user")
    (closed := passable / "root").mkdir(mode=0o700)
    (own := closed / "tmp").mkdir(mode=0o755)
    (link := passable / "link").symlink_to(own)
    (last := passable / "machine").mkdir(mode=0o700)
    assert unprivileged.user(last) == unprivileged.user(passable)
    assert unprivileged.user(own) is unprivileged.user(link / "machine") is None
    closed.chmod(0o711)
    assert unprivileged.user(own) == unprivileged.user(link / "machine") == unprivileged.user(passable)


def test_a_screen_that_qemu_cannot_write_down_is_none(tmp_path: Path) -> None:
    """The other end speaks the control protocol and refuses all it is asked, as QEMU does by EACCES."""
    ours, theirs = socket.socketpair()
    asked: list[str] = []

    def refuse() -> None:
        with theirs, theirs.makefile("rw") as line:
            for command in line:
                asked.append(json.loads(command)["execute"])
                line.write('{"error": {"class": "GenericError", "desc": "Could not open: Permission denied"}}\n')
                line.flush()

    answering = threading.Thread(target=refuse)
    answering.start()
    machine = Machine(Hardware(()))
    machine._folder, machine._qmp = tmp_path, Qmp(ours, lambda: None)
    try:
        assert machine.screen() == [] and asked
    finally:
        machine._qmp.close()
        answering.join()
