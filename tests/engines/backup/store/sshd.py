"""A real sshd on a port of its own, with keys of its own, whose connections can be cut."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from engines.host.child import bind_to_parent
from tests.ports import free_port

STARTS_WITHIN = 180.0  # s
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
MaxStartups 100
"""


class Sshd:
    """Logs this user in by `folder`/key. `port` is free when it starts; `stop` and `start` keep it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host_key", "key"):
            self.new_key(name)
        (folder / "authorized_keys").write_bytes((folder / "key.pub").read_bytes())
        self.port = free_port()
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))

    def new_key(self, name: str) -> None:
        for path in (self.folder / name, self.folder / f"{name}.pub"):
            path.unlink(missing_ok=True)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    @property
    def fingerprint(self) -> str:
        argv = ["ssh-keygen", "-lf", str(self.folder / "host_key.pub")]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[1]

    def url(self, path: Path) -> str:
        return f"sftp://root@127.0.0.1:{self.port}{path}"

    @property
    def place(self) -> str:
        return f"root@127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "config")],
            stdin=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            preexec_fn=bind_to_parent(),
        )
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        self.cut()
        self._process.kill()
        self._process.wait()

    def logins(self) -> int:
        """How often somebody was let in so far."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    def cut(self) -> int:
        """Kill the processes that serve connections, as a lost machine would; how many there were."""
        children = self._children()
        for child in children:
            try:
                os.kill(child, 9)
            except ProcessLookupError:
                continue
        return len(children)

    def _children(self) -> list[int]:
        direct = _children_of(self._process.pid)
        return direct + [below for child in direct for below in _children_of(child)]


def _children_of(pid: int) -> list[int]:
    """None where it ended, at whatever moment."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
