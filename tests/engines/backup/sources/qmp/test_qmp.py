"""Disks of a real QEMU, driven over QMP: of one moment while it writes on, and nothing stays behind in it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engines.backup.sources.qmp.monitor import Monitor
from engines.host.child import bind_to_parent
from engines.job.contract import Finished, Progress
from engines.job.errors import Refused
from engines.job.journal import Entry
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

SIZE = 24 * MIB
STARTS_WITHIN = 120.0  # s


class Machine:
    """A QEMU whose processor stands still; its disks are written to through its own block layer, as a guest would."""

    def __init__(self, folder: Path) -> None:
        self.qmp = folder / "qmp"
        self.images = (folder / "one.qcow2", folder / "two.img")
        self._second = folder / "second"
        for number, (image, form) in enumerate(zip(self.images, ("qcow2", "raw"), strict=True)):
            subprocess.run(["qemu-img", "create", "-q", "-f", form, str(image), str(SIZE)], check=True)
            for block in range(0, 20, 2):
                self._io(image, form, f"write -P {16 * (number + 1) + block} {block}M 1M")
        self._argv = [
            "qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-m", "32",
            "-qmp", f"unix:{self.qmp},server=on,wait=off", "-qmp", f"unix:{self._second},server=on,wait=off",
            "-drive", f"if=none,id=one,format=qcow2,file={self.images[0]}", "-device", "virtio-blk-pci,drive=one",
            "-drive", f"if=none,id=two,format=raw,file={self.images[1]}", "-device", "virtio-blk-pci,drive=two",
        ]  # fmt: skip

    def _io(self, image: Path, form: str, command: str) -> None:
        subprocess.run(["qemu-io", "-f", form, "-c", command, str(image)], check=True, capture_output=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        with subprocess.Popen(self._argv, preexec_fn=bind_to_parent()) as qemu:
            try:
                end = time.monotonic() + STARTS_WITHIN
                while not self._second.exists():
                    assert qemu.poll() is None and time.monotonic() < end
                    time.sleep(0.02)
                yield
            finally:
                qemu.kill()

    def write(self, value: int, block: int) -> None:
        """One block of both disks."""
        with closing(Monitor(self._second)) as monitor:
            for name in ("one", "two"):
                command = f'qemu-io {name} "write -P {value} {block}M 1M"'
                said = monitor.ask("human-monitor-command", **{"command-line": command})
                assert "error" not in str(said).lower(), said

    def left(self) -> list[str]:
        """What of ours is in QEMU, or beside the images."""
        with closing(Monitor(self._second)) as monitor:
            nodes = [str(node["node-name"]) for node in monitor.ask("query-named-block-nodes", flat=True)]
            jobs = [str(job["id"]) for job in monitor.ask("query-jobs")]
            exports = [str(export["id"]) for export in monitor.ask("query-block-exports")]
        files = [path.name for path in self.images[0].parent.iterdir() if path.name.startswith(".")]
        return [name for name in [*nodes, *jobs, *exports] if name.startswith("crashcart")] + files


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    folder = tmp_path / "vm"
    folder.mkdir()
    made = Machine(folder)
    with made.running():
        yield made


def wanted(number: int, changed: dict[int, int]) -> bytes:
    blocks = {block: 16 * (number + 1) + block for block in range(0, 20, 2)} | changed
    return b"".join(bytes([blocks.get(block, 0)]) * MIB for block in range(SIZE // MIB))


def test_two_disks_of_a_running_vm_are_of_one_moment_while_it_writes_on(machine: Machine, tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    wrote: list[int] = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Progress) and not wrote:
            wrote.append(1)
            for block in (0, 1, 10, 18, 22):
                machine.write(0xEE, block)

    params: dict[str, Any] = {
        "repo": repo,
        "source": str(machine.images[0]),
        "more": [str(machine.images[1])],
        "vm": "web1",
    }
    _, last = lab.perform_job("backup", listen=listen, qmp=str(machine.qmp), limit="20M", **params)
    assert isinstance(last, Finished) and wrote
    assert last.result["together"]
    for number, row in enumerate(last.result["points"]):
        assert row["consistency"] == "crash-consistent"
        assert lab.content(repo, row["point"]) == wanted(number, {}), "as it was before the first write"
    assert not machine.left()
    second = lab.done("backup", qmp=str(machine.qmp), limit="none", **params)
    for number, row in enumerate(second["points"]):
        assert lab.content(repo, row["point"]) == wanted(number, dict.fromkeys((0, 1, 10, 18, 22), 0xEE))
    assert not machine.left()


def test_the_moment_of_a_killed_run_is_let_go_by_the_next(machine: Machine, tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    params: dict[str, Any] = {"repo": repo, "source": str(machine.images[0]), "vm": "web1", "qmp": str(machine.qmp)}
    child = os.fork()
    if child == 0:
        lab.perform_job("backup", listen=_die, limit="10M", **params)
        os._exit(0)
    os.waitpid(child, 0)
    assert any(name.startswith("crashcart") for name in machine.left())
    image = machine.images[0]
    earlier = image.with_name(f".{image.name}.crashcart-{child}.qcow2")
    earlier.write_bytes(b"as an earlier version called it")
    point = lab.done("backup", limit="none", **params)["point"]
    assert lab.content(repo, point) == wanted(0, {})
    assert not machine.left() and not earlier.exists()


def _die(entry: Entry) -> None:
    if isinstance(entry.event, Progress):
        os.kill(os.getpid(), 9)


def test_what_the_vm_does_not_have_is_refused_by_name(machine: Machine, tmp_path: Path) -> None:
    other = lab.disk(tmp_path / "other", {}, MIB)
    with closing(Monitor(machine.qmp)) as monitor, pytest.raises(Refused, match=f"has no disk {other}") as refused:
        monitor.disk(other)
    assert str(machine.images[0]) in refused.value.what_helps
    with pytest.raises(Refused, match="is no QMP socket that answers"):
        Monitor(tmp_path / "nothing")
