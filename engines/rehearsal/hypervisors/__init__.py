"""Three hypervisors on loopback for a fleet's night: libvirt's test driver, ssh of our own, and one that goes dark.

The second host's ssh is killed as soon as the first run of a guest stands on it, and comes back after some seconds; the
run goes on meanwhile. It does not prove a real libvirtd, sshd, running guests, a slow line, or a bucket as off-site.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.host.child import module, start
from engines.job.errors import Failed, Refused
from engines.rehearsal import disk

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged

GUESTS = (("web1", "web2", "mail"), ("db1", "db2"), ("shop", "wiki"))
SIZE = 24 * 1024 * 1024  # bytes of a guest's disk
STARTS_WITHIN = 60.0  # s
DARK = 4.0  # s that the second host is gone
PORT = 2222
DOMAIN = (
    "<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>{name}</name><uuid>00000000-0000-4000-8000-{number:012d}</uuid><memory>1024</memory>"
    "<os><type>hvm</type></os><devices><disk type='file' device='disk'><driver type='raw'/><source file='{image}'/>"
    "<target dev='vda'/></disk></devices><test:runstate>5</test:runstate></domain>"
)


class Host:
    """One of them; its guests are off and their disks at rest. `folder` must not be there yet."""

    def __init__(self, folder: Path, number: int, names: tuple[str, ...]) -> None:
        folder.mkdir()
        self.folder = folder
        self.address = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{number}"  # noqa: S311  no secret
        domains = [
            DOMAIN.format(name=name, number=number * 100 + at, image=_image(folder / f"{name}.img", number * 100 + at))
            for at, name in enumerate(names)
        ]
        (folder / "host.xml").write_text(f"<node><cpu/>{''.join(domains)}</node>")
        for name in ("host_key", "key"):
            _ran(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
        (folder / "known_hosts").write_text(f"[{self.address}]:{PORT} {(folder / 'host_key.pub').read_text()}")
        self._server: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def up(self) -> None:
        """Answer ssh. Raises Failed."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        words = (str(self.folder), self.address, str(PORT))
        with self._lock:
            self._server = start(
                module("engines.rehearsal.hypervisors.serve", *words),
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        for _ in range(round(STARTS_WITHIN / 0.1)):
            if ready.exists():
                return
            threading.Event().wait(0.1)
        raise Failed(f"the rehearsal host at {self.address} did not come up", "look for what listens there: ss -tlnp")

    def down(self) -> None:
        """Killed, with every connection."""
        with self._lock:
            if self._server:
                self._server.kill()
                self._server.wait()
                self._server = None

    @property
    def began(self) -> bool:
        """Whether a run stands on it."""
        return any((self.folder / "state" / "crashcart" / "runs").glob("*/job.yaml"))

    def yaml(self) -> str:
        """Its line in fleet.yaml."""
        keys = f"key: '{self.folder}/key', known_hosts: '{self.folder}/known_hosts'"
        where = f"ssh: 'root@{self.address}:{PORT}', connect: 'test://{self.folder}/host.xml'"
        return f"  {self.folder.name}: {{{where}, slots: 2, {keys}}}"


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """Three hosts, a repository and the fleet.yaml of a round; the second host goes dark in the middle of it."""
    from engines.job.jobfile import Job
    from engines.rehearsal.stage import Staged

    _needs()
    hosts = [Host(folder / f"hv{number}", number, names) for number, names in enumerate(GUESTS, 1)]
    disk._run("backup-init", {"repo": str(folder / "off-site")}, folder)
    config = folder / "fleet.yaml"
    config.write_text(_yaml(folder, hosts))
    over = threading.Event()
    with ExitStack() as stack:
        for host in hosts:
            stack.callback(host.down)
            host.up()
        dark = threading.Thread(target=_go_dark, args=(hosts[1], over), daemon=True)
        dark.start()
        stack.callback(dark.join)
        stack.callback(over.set)
        yield Staged(Job(task="fleet", params={"fleet": str(config), "now": True}))


def _go_dark(host: Host, over: threading.Event) -> None:
    while not host.began:
        if over.wait(0.05):
            return
    host.down()
    if not over.wait(DARK):
        host.up()


def _yaml(folder: Path, hosts: list[Host]) -> str:
    lines = "\n".join(host.yaml() for host in hosts)
    return (
        f"hosts:\n{lines}\n"
        f"repositories: {{offsite: {{url: '{folder}/off-site', slots: 4, share: 100}}}}\n"
        "policies: {nightly: {to: [offsite], keep: {daily: 14}, retries: 3}}\n"
        "guests: [{skip: wiki, why: to show one that is left out}, {match: all, policy: nightly}]\n"
        f"ledger: {folder}/ledger.sqlite\n"
    )


def _image(path: Path, seed: int) -> Path:
    """A disk with data that does not compress and holes."""
    made = random.Random(seed)  # noqa: S311  no secret
    with path.open("wb") as file:
        for at in range(0, SIZE, 4 * 1024 * 1024):
            file.seek(at)
            file.write(made.randbytes(1024 * 1024))
        file.truncate(SIZE)
    return path


def _ran(argv: list[Any]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{argv[0]}: {done.stderr.strip()}")


def _needs() -> None:
    """Raises Refused where a program or package is not installed."""
    import importlib.util

    for program, package in (("ssh-keygen", "openssh-client"), ("virsh", "libvirt-clients")):
        if shutil.which(program) is None:
            raise Refused(f"{program} is not installed", f"install it: apt install {package}")
    if importlib.util.find_spec("asyncssh") is None:
        raise Refused(
            "asyncssh, which the rehearsal hosts are made of, is not installed", "pip install 'crashcart[rehearsal]'"
        )
    with socket.socket() as probe:
        try:
            probe.bind(("127.21.1.1", 0))
        except OSError as error:
            raise Refused(f"loopback has no address 127.21.1.1: {error.strerror}", "ip link set lo up") from None
