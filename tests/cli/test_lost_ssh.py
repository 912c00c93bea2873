"""A run started over ssh outlives the line: a real sshd on loopback, and an ssh that is killed in mid-run."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.crashcart import ARGV, ROOT, crashcart
from tests.cli.test_commands import DONE, params, wait_for_boot, words
from tests.ports import free_port

__all__ = ["params"]


@dataclass(frozen=True)
class Sshd:
    port: int
    folder: Path

    def ssh(self, *more: str) -> list[str]:
        options = ["IdentitiesOnly=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder}/known"]
        named = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "/dev/null", "-i", f"{self.folder}/user", "-p", str(self.port), *named, *more, "127.0.0.1"]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation folder, made by the service elsewhere
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n"
    )
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(folder / "config")])
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield Sshd(port, folder)
    server.terminate()
    server.wait()


@pytest.mark.boot
@pytest.mark.parametrize("tty", ["-tt", "-T"])
def test_a_killed_ssh_leaves_the_run_going(sshd: Sshd, params: dict[str, str], tty: str, tmp_path: Path) -> None:
    remote = ["env", f"XDG_STATE_HOME={tmp_path}/xdg-state", *ARGV, *words(params, "--boot-test")]
    line = subprocess.Popen(
        [*sshd.ssh(tty), f"cd {shlex.quote(str(ROOT))} && {shlex.join(remote)}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run, machine = wait_for_boot()
    line.kill()
    line.wait()
    os.kill(machine, signal.SIGCONT)
    attached = crashcart("attach", run.id)
    assert attached.returncode == DONE
    assert "bios.iso is rehearsed" in attached.stderr
    assert Path(params["output"]).is_file()
