"""Another host: an sshd of ours, one connection to it, and a repository whose points go there."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines import tasks
from engines.job.contract import Cancel
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from tests.engines.backup import lab
from tests.engines.backup.store.sshd import Sshd

WRONG_DD = """#!/bin/sh
[ -e {folder}/wrong ] || exec /bin/dd "$@"
case "$*" in *bs=4M*) tr '\\001' '\\002' | /bin/dd "$@";; *) exec /bin/dd "$@";; esac
"""


@dataclass
class There:
    """A host to restore to, and a point; its dd writes other bytes while folder/wrong is there."""

    folder: Path
    repo: str
    point: str
    source: Path

    def words(self, path: Path | str, **more: object) -> dict[str, object]:
        config = str(self.folder / "ssh_config")
        return {"repo": self.repo, "point": self.point, "target": f"ssh://there{path}", "ssh_config": config, **more}

    def refused(self, path: Path | str, **more: object) -> str:
        engine = tasks.engine("backup-restore")
        with pytest.raises((Refused, BadParam)) as found:
            engine.plan(convert(engine.params, self.words(path, **more)), Cancel())
        return str(found.value)


@contextmanager
def another_host(folder: Path) -> Iterator[There]:
    repo = lab.init(folder / "repo")
    source = lab.disk(folder / "disk", {0: 1, 5: 1}, 7 * lab.MIB + 512)
    point = lab.backup(repo, source)
    (folder / "bin").mkdir()
    (folder / "bin" / "dd").write_text(WRONG_DD.format(folder=folder))
    (folder / "bin" / "dd").chmod(0o755)
    server = Sshd(folder)
    with (folder / "config").open("a") as config:
        config.write(f"SetEnv PATH={folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
    with server:
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known").write_text(f"[127.0.0.1]:{server.port} {host_key}")
        (folder / "ssh_config").write_text(
            f"Host there\n HostName 127.0.0.1\n Port {server.port}\n User root\n IdentityFile {folder}/key\n"
            f" UserKnownHostsFile {folder}/known\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n"
        )
        with one_line(folder / "ssh_config"):
            yield There(folder, repo, point, source)


@contextmanager
def one_line(config: Path) -> Iterator[None]:
    """One connection for all that is asked there, as many technicians have set it: a login each takes its time."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="crashcart-ssh-") as short:  # a socket's path is short
        place = Path(short, "s")
        with config.open("a") as stream:
            stream.write(f" ControlPath {place}\n")
        with subprocess.Popen(["ssh", "-F", str(config), "-M", "-N", "there"]) as line:
            try:
                end = time.monotonic() + 120
                while not place.exists():
                    assert line.poll() is None and time.monotonic() < end
                    time.sleep(0.02)
                yield
            finally:
                line.kill()
