"""A cluster on loopback for tests: real processes over TLS, none of them root, each of which can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from engines.fleet.spread import certificates
from tests.absent import absent
from tests.engines.fleet.lab import ROOT
from tests.ports import free_port

COMES_WITHIN = 300.0  # s, on a machine that does much else
# The files of a test are root's. In a user namespace of its own a process is nobody, and root's files are its own.
AS_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


def wait(true: Callable[[], bool]) -> None:
    end = time.monotonic() + COMES_WITHIN
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def command(*words: str) -> list[str]:
    """A crashcart that is not root."""
    root = () if os.geteuid() else AS_NOBODY
    return [*root, sys.executable, "-P", "-m", "engines.cli", *words]


class Process:
    """One member; `said` are its lines."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.name = name
        self.said: list[str] = []
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout:
            for line in self._process.stdout:
                self.said.append(line.strip())

    def heard(self, words: str, times: int = 1) -> None:
        def has() -> bool:
            assert self._process.poll() is None, self.said
            return sum(words in line for line in self.said) >= times

        wait(has)

    def stop(self) -> None:
        """It stands still, and nobody is told."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self.ended()

    def ended(self) -> int:
        """Its exit code, once it has one."""
        code = self._process.wait(COMES_WITHIN)
        self._reader.join()
        return code


class Cluster:
    """A scheduler and workers of one fleet.yaml; `yaml` is its part of the file."""

    def __init__(self, folder: Path, config: Path) -> None:
        if subprocess.run([*AS_NOBODY, "true"], capture_output=True, check=False).returncode:
            absent("user namespaces, in which a test of root is not root")
        self.config = config
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self._sockets = tempfile.mkdtemp(prefix="crashcart-")  # the path of a socket is short
        self.folder = folder / "cluster"
        papers = certificates.issue(self.folder, "member")
        self.yaml = f"cluster: {{scheduler: 'tls://127.0.0.1:{self.port}', tls: '{papers}'}}\n"
        self.env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": self._sockets,
        }
        self.members: dict[str, Process] = {}

    def start(self, name: str, *words: str) -> Process:
        argv = command("fleet", *words, "--fleet", str(self.config))
        own = {"XDG_STATE_HOME": str(self.state(name))} if words[0] == "worker" else {}
        self.members[name] = Process(name, argv, {**self.env, **own})
        return self.members[name]

    def state(self, worker: str) -> Path:
        """Where a worker keeps its runs, as on a machine of its own."""
        return self.folder / worker

    def scheduler(self) -> Process:
        started = self.start("scheduler", "scheduler")
        started.heard("the scheduler is at")
        return started

    def worker(self, name: str) -> Process:
        return self.start(name, "worker", "--name", name)

    def kill(self, name: str) -> None:
        self.members.pop(name).kill()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*words), capture_output=True, text=True, env=self.env, check=False, timeout=1800)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.members):
            self.kill(name)
        shutil.rmtree(self._sockets)
