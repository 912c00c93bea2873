"""One request to one host: by ssh, over a connection that several share, or by a child for the controller itself."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from engines.fleet.agent import wire
from engines.fleet.config.model import Host
from engines.host.child import bind_to_parent, module, start
from engines.job import folders
from engines.job.errors import Failed

PATIENCE = 15  # s until a host that does not answer a connection, or has fallen silent, is given up
PLACE = re.compile(r"^(?P<user>[^@]+)@(?:\[(?P<six>[^\]]+)\]|(?P<name>[^:]+))(?::(?P<port>\d+))?$")
AGENT = ("crashcart", "fleet-agent")  # what is asked for; a forced command does it whatever is
STAYS = 60  # s that a connection nobody uses is kept
LONGEST = 16 << 20  # bytes of one line of an answer: 30,000 guests
LOOK = 5.0  # s between two looks whether a deadline is over
NOISE = 16 << 20  # bytes that ssh may write into a file: what a host says beside its answers
RUNS = (900.0, 120.0)  # s until the first word of a run, which is planned first, and until each next one
# s that an answer may take as a whole: an agent that hangs behind a living connection is given up, too.
WITHIN: dict[type[wire.Request], float] = {
    wire.About: 60.0,
    wire.Slots: 60.0,
    wire.Stop: 120.0,
    wire.Fit: 300.0,
    wire.Find: 600.0,  # up to four questions to a slow libvirt, and one to LVM for each pattern
    wire.Holds: 3600.0,  # of a repository in a far bucket every index and each disk's newest maps are read
}


class Unreachable(Failed):
    """No answer came from the host; whether it has done what it was asked is not known."""


def ask(
    name: str,
    host: Host,
    request: wire.AnyRequest,
    held: Connections | None = None,
    within: float = RUNS[0],
    silent: float | None = None,
) -> Generator[wire.AnyAnswer, None, None]:
    """The host's answers as they come. Raises Unreachable.

    held: who can end the connection from another thread; the run on the host goes on.
    within: seconds for all of them, or where `silent` is said for the first, and `silent` for each after that.
    """
    with tempfile.TemporaryFile() as noise:  # no pipe: the shared connection's own process would keep it open
        child = start(argv(host), stdout=subprocess.PIPE, stderr=noise, before=_before(host))
        if held:
            held.add(child)
        try:
            with _deadline(child, within) as late:
                try:
                    for answer in _talk(name, host, request, child, noise):
                        if silent is not None:
                            late.have(silent)
                        yield answer
                except Unreachable:
                    if not late.over:
                        raise
                    why = f"host {name} ({host.ssh}) did not answer within {late.seconds:.0f} s"
                    raise Unreachable(why, _helps(host)) from None
        finally:
            child.kill()
            child.wait()
            if held:
                held.remove(child)


class _Deadline:
    """When a child is ended; over: whether it was. seconds: how many it had last."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.over = False
        self._child = child
        self._done = threading.Event()
        self.have(seconds)
        threading.Thread(target=self._watch, daemon=True).start()

    def have(self, seconds: float) -> None:
        """So many from now on."""
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    def _watch(self) -> None:
        while not self._done.wait(min(max(0.0, self._until - time.monotonic()), LOOK)):
            if time.monotonic() >= self._until:
                self.over = True
                self._child.kill()
                return

    def close(self) -> None:
        """It has all the time of the world."""
        self._done.set()


@contextmanager
def _deadline(child: subprocess.Popen[bytes], within: float) -> Iterator[_Deadline]:
    """The child is ended where it takes longer."""
    late = _Deadline(child, within)
    try:
        yield late
    finally:
        late.close()


def _talk(
    name: str, host: Host, request: wire.AnyRequest, child: subprocess.Popen[bytes], noise: IO[bytes]
) -> Iterator[wire.AnyAnswer]:
    assert child.stdin and child.stdout
    with suppress(BrokenPipeError), child.stdin:  # it says why on stderr
        child.stdin.write(msgspec.json.encode(request))
    last: wire.AnyAnswer | None = None
    with child.stdout:
        while line := child.stdout.readline(LONGEST):
            last = _answer(name, line)
            yield last
    child.wait()
    if last is None or child.returncode not in (0, 3, 75):
        noise.seek(0)
        said = noise.read(65536).decode("utf-8", "replace").strip().splitlines()
        why = said[-1] if said else "the connection was lost"
        raise Unreachable(f"host {name} ({host.ssh}): {why}", _helps(host, why))


def one(name: str, host: Host, request: wire.AnyRequest, within: float | None = None) -> wire.AnyAnswer:
    """The last answer of the host, within so many seconds, by default those of its kind. Raises Unreachable; Failed
    where it declines.
    """
    (last,) = deque(ask(name, host, request, within=within or WITHIN[type(request)]), maxlen=1)  # however many
    if isinstance(last, wire.Declined):
        raise Failed(f"host {name}: {last.why}", last.what_helps)
    return last


def held_to_the_agent(name: str, host: Host, within: float = WITHIN[wire.About]) -> bool:
    """Whether the key can do nothing there but ask the agent: asked for another command, it is the agent that answers.

    Raises Unreachable where nobody does.
    """
    if host.ssh == "local":
        return True
    word = f"crashcart-{os.urandom(8).hex()}"
    argv_ = [*argv(host)[: -len(AGENT)], "echo", word]
    child = start(
        argv_, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, before=bind_to_parent()
    )
    assert child.stdout
    try:
        with _deadline(child, within), child.stdout:
            said = child.stdout.read(65536)
    finally:
        child.kill()
        child.wait()
    if word.encode() in said:
        return False
    if not isinstance(_answer(name, said.partition(b"\n")[0]), wire.Declined):
        raise Unreachable(f"host {name} ({host.ssh}) does what it is asked for without a question", _helps(host))
    return True


class Connections:
    """The connections that are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[subprocess.Popen[bytes]] = set()
        self._cut = False

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """One more; at an end at once where all were cut."""
        with self._lock:
            self._open.add(child)
            if self._cut:
                child.kill()

    def remove(self, child: subprocess.Popen[bytes]) -> None:
        """One less."""
        with self._lock:
            self._open.discard(child)

    def cut(self) -> None:
        """End them all; what runs on the hosts goes on."""
        with self._lock:
            self._cut = True
            for child in self._open:
                child.kill()


def _before(host: Host) -> Callable[[], None]:
    """A `preexec_fn`: it ends with us, and ssh where a host's noise would fill this disk."""
    bind = bind_to_parent()
    if host.ssh == "local":  # its runs inherit what it may do
        return bind

    def begin() -> None:
        bind()
        resource.setrlimit(resource.RLIMIT_FSIZE, (NOISE, NOISE))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    return begin


def _answer(name: str, line: bytes) -> wire.AnyAnswer:
    try:
        return msgspec.json.decode(line, type=wire.AnyAnswer)
    except (msgspec.MsgspecError, RecursionError):
        shown = line[:80].decode("utf-8", "replace").strip()
        helps = "install the same crashcart there, and have the key's forced command be: crashcart fleet-agent"
        raise Unreachable(f"host {name} answers {shown!r}, which no agent says", helps) from None


def argv(host: Host) -> list[str]:
    """The command that reaches the host's agent."""
    if host.ssh == "local":
        return module("engines.cli", "fleet-agent")
    place = PLACE.match(host.ssh)
    assert place  # the config was read
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(PATIENCE),
        "ServerAliveInterval": str(PATIENCE // 3),
        "ServerAliveCountMax": "3",
        "ControlMaster": "auto",
        "ControlPath": f"{_sockets()}/{_shared(host)}",
        "ControlPersist": str(STAYS),
        "ForwardAgent": "no",
        "ForwardX11": "no",
    }
    if host.known_hosts:
        options |= {"UserKnownHostsFile": host.known_hosts, "StrictHostKeyChecking": "yes"}
    if host.key:
        options |= {"IdentitiesOnly": "yes", "IdentityFile": host.key}
    said = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    port = ["-p", place["port"]] if place["port"] else []
    return [
        "ssh",
        "-T",
        *said,
        *port,
        "--",
        f"{place['user']}@{place['six'] or place['name']}",
        *AGENT,
    ]


def _sockets() -> Path:
    """Where shared connections have their sockets: a short path, since a socket's may have 107 bytes."""
    folder = folders.runtime("ssh")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _shared(host: Host) -> str:
    """What a shared connection's socket is called: only those share one who would log in with the same key and trust.

    Two fleets of one controller, or of two homes, may reach one host with a key each.
    """
    who = (host.ssh, host.key, host.known_hosts, os.environ.get("HOME", ""), os.environ.get("SSH_AUTH_SOCK", ""))
    return hashlib.blake2b("\0".join(map(str, who)).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


FORCED = 'restrict,command="crashcart fleet-agent"'


def _helps(host: Host, why: str = "") -> str:
    if host.ssh == "local":
        return "try: crashcart doctor"
    if "Host key verification failed" in why:
        known = host.known_hosts or "~/.ssh/known_hosts"
        compare = "compare it at its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
        return f"its host key is not the one in {known}: {compare}"
    if "Permission denied" in why:
        return f"put this in its ~/.ssh/authorized_keys: {FORCED} and the public key of {host.key or 'the controller'}"
    return "try it by hand with the same key: ssh " + host.ssh.split(":")[0]
