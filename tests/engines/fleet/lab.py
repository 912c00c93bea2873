"""Hypervisors for tests: sshd on loopback with forced commands, each with libvirt's test driver and a state folder of
its own."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.engines.backup import lab
from tests.engines.backup.guests.host import domain, node, raw
from tests.engines.backup.store.sshd import Sshd

ROOT = Path(__file__).resolve().parents[3]
POLICY = "{to: [near], every: day, keep: {last: 3}, retries: 3}"


def noon() -> str:
    """A zone in which it is about noon, so that no night ends while a test runs."""
    behind = time.gmtime().tm_hour - 12
    return f"Etc/GMT{behind:+d}" if behind else "UTC"


class Hypervisor:
    """One of them. `guests` are (number, name) pairs; their images are made where they are not there."""

    def __init__(self, folder: Path, name: str, guests: Sequence[tuple[int, str]], size: int = lab.MIB) -> None:
        folder.mkdir()
        self.folder, self.name = folder, name
        self.state = folder / "state"
        self.images = folder.parent / "images"
        self.images.mkdir(exist_ok=True)
        self.size = size
        self.define(guests)
        self.sshd = Sshd(folder)
        public = (folder / "key.pub").read_text()
        (folder / "authorized_keys").write_text(f'restrict,command="{self._command()}" {public}')
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.sshd.port} {(folder / 'host_key.pub').read_text()}")

    def _command(self) -> str:
        env = {
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_CONFIG_HOME": str(self.folder / "config-home"),
            "PYTHONPATH": str(ROOT),
        }
        words = [f"{name}={value}" for name, value in env.items()]
        return shlex.join(["env", *words, sys.executable, "-P", "-m", "engines.cli", "fleet-agent"])

    def define(self, guests: Sequence[tuple[int, str]], metadata: str = "") -> None:
        """Have these guests, all off."""
        self.guests = guests
        domains = []
        for number, name in guests:
            image = self.images / f"{number}.img"
            if not image.exists():
                lab.disk(image, {0: number + 1}, self.size)
            domains.append(domain(number, name, raw(image), metadata=metadata))
        self.uri = node(self.folder / "host.xml", *domains)

    def runs(self) -> list[Path]:
        """The folders of its runs."""
        home = self.state / "crashcart" / "runs"
        return sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []

    def yaml(self, slots: int) -> str:
        return (
            f"  {self.name}: {{ssh: 'root@127.0.0.1:{self.sshd.port}', slots: {slots}, connect: '{self.uri}',"
            f" key: '{self.folder}/key', known_hosts: '{self.folder}/known_hosts'}}"
        )


class Fleet:
    """Hosts with sshd at work, a repository and a fleet.yaml."""

    def __init__(self, folder: Path, hosts: Sequence[Hypervisor]) -> None:
        self.folder, self.hosts = folder, hosts
        self.repo = lab.init(folder / "repo")
        self.path = folder / "fleet.yaml"
        self.ledger = folder / "ledger.sqlite"
        self.zone = noon()  # the same for as long as the test runs, over midnight of UTC, too
        self.write()

    def write(self, policy: str = POLICY, slots: int = 2, repository_slots: int = 3, more: str = "") -> Path:
        hosts = "\n".join(host.yaml(slots) for host in self.hosts)
        self.path.write_text(
            f"hosts:\n{hosts}\n"
            f"repositories: {{near: {{url: '{self.repo}', slots: {repository_slots}, gc: month, share: 100}}}}\n"
            f"policies: {{gold: {policy}}}\nguests: [{{match: all, policy: gold}}]\nledger: {self.ledger}\n"
            f"zone: {self.zone}\n{more}"
        )
        return self.path

    def points(self) -> list[str]:
        with lab.opened(self.repo) as repository:
            return sorted(str(name) for name in repository.names())


@contextmanager
def fleet(folder: Path, guests: Sequence[Sequence[tuple[int, str]]]) -> Iterator[Fleet]:
    """As many hosts as there are lists of guests."""
    with ExitStack() as stack:
        hosts = [Hypervisor(folder / f"hv{number}", f"hv{number}", of) for number, of in enumerate(guests, 1)]
        for host in hosts:
            stack.enter_context(host.sshd)
        yield Fleet(folder, hosts)
