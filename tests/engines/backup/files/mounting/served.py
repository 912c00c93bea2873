"""A point that `crashcart backup mount` serves from a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.backup.files.mounting import mounts
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree

PATIENCE = 180.0  # s
CRASHCART = (sys.executable, "-m", "engines.cli")


class Guest:
    def __init__(self, folder: Path) -> None:
        self.image = guest_tree.ext4(folder / "image", self.fill)
        self.repo = lab.init(folder / "repo")
        self.point = lab.backup(self.repo, self.image)

    def fill(self, root: Path) -> None:
        guest_tree.everything(root)
        for at in range(4):
            (root / f"big{at}").write_bytes(b"".join(lab.block(at * 100 + block) for block in range(4)))


class Mounted:
    """A `crashcart backup mount` in the foreground."""

    def __init__(self, guest: Guest, folder: Path, *more: str) -> None:
        self.folder = folder
        folder.mkdir()
        words = [*CRASHCART, "backup", "mount", "--repo", guest.repo, guest.point, str(folder), *more]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait(lambda: bool(self.records()) and mounts.is_mounted(self.records()[0]))
        self.server = self.records()[0].server.pid

    def records(self) -> list[mounts.Mount]:
        return [mount for _, mount in mounts.every() if mount.folder == str(self.folder)]

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < deadline, self.process.stderr
            if self.process.poll() is not None:
                raise AssertionError(self.process.communicate())
            time.sleep(0.05)

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said.decode()


@contextmanager
def mounted(guest: Guest, folder: Path, *more: str) -> Iterator[Mounted]:
    found = Mounted(guest, folder, *more)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.stop()
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def gone(folder: Path) -> bool:
    return str(folder).encode() not in Path("/proc/self/mountinfo").read_bytes()
