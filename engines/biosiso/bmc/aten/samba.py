"""One file as a read-only SMB share, by a Samba in namespaces of its own that vanish with it, whatever ends it.

Samba listens on the loopback of its own network only; a relay here lets the BMC through to it, and nobody else.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from engines.host import child
from engines.job.errors import Failed, Refused

CLONE_NEWNET = 0x40000000  # linux/sched.h
PORT = 445
PLACES = ("/srv", "/mnt", "/media")
WITHIN = 60.0  # s until a loaded machine has it up
ALONE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
FURNISH = """
set -eu
ip link set lo up
mount -t tmpfs -o mode=755,size=64m crashcart "$1"
cd "$1"
mkdir -m 700 private state cache lock pid ncalrpc
mkdir share
: > "share/$3"
mount --bind "$2" "share/$3"
printf '%s' "$4" > smb.conf
exec "$5" --foreground --no-process-group --debug-stdout -s "$1/smb.conf"
"""
# SMB 1 and NTLMv1 because BMCs of that age know no other; no password, because any user is the guest.
CONF = """[global]
server role = standalone server
server min protocol = NT1
ntlm auth = ntlmv1-permitted
map to guest = Bad User
guest account = nobody
interfaces = lo
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
disable spoolss = yes
load printers = no
printing = bsd
printcap name = /dev/null
usershare max shares = 0
unix extensions = no
private dir = {here}/private
state directory = {here}/state
cache directory = {here}/cache
lock directory = {here}/lock
pid directory = {here}/pid
ncalrpc dir = {here}/ncalrpc
[{share}]
path = {here}/share
read only = yes
guest ok = yes
guest only = yes
force user = {owner}
"""

_libc = ctypes.CDLL(None, use_errno=True)


def program() -> str:
    """Where smbd is. Raises Refused where this machine cannot share by SMB."""
    found = shutil.which("smbd") or shutil.which("smbd", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise Refused(
            "smbd is not installed: the disc cannot be shared by SMB",
            "apt-get install samba, then systemctl disable --now smbd nmbd: this task starts its own",
        )
    if os.geteuid() != 0:
        raise Refused("an SMB share needs root: its port is 445, and Samba gets namespaces of its own", "run as root")
    return found


def _place(file: Path) -> str:
    """A folder that this system has for others to mount on, and that does not hold the file: in Samba's own view of
    the machine it is covered by memory, so that nothing is written and nothing can stay."""
    for place in PLACES:
        if Path(place).is_dir() and not file.is_relative_to(place):
            return place
    raise Refused(f"none of {', '.join(PLACES)} is there to mount on", "mkdir /srv")


def _owner(file: Path) -> str:
    """Who reads the file in the share: nobody, or root where others may not; the share holds nothing else."""
    return "nobody" if file.stat().st_mode & 0o004 else "root"


class Samba:
    """The share `share` with `file` as `name` in it, while the `with` block lasts."""

    def __init__(self, file: Path, share: str, name: str) -> None:
        self.file, self.share, self.name = file, share, name

    def __enter__(self) -> Samba:
        here = _place(self.file)
        self._log = tempfile.TemporaryFile()
        conf = CONF.format(here=here, port=PORT, share=self.share, owner=_owner(self.file))
        words = ["sh", "-c", FURNISH, "sh", here, str(self.file), self.name, conf, program()]
        self._process = child.start(
            [*ALONE, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            before=child.bind_to_parent(),
        )
        try:
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            os.kill(self._inner(), signal.SIGKILL)  # all that is inside goes with it, and is waited for
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def reach(self) -> socket.socket:
        """A connection to it. The calling thread is in its network ever after. Raises OSError."""
        with Path(f"/proc/{self._inner()}/ns/net").open("rb") as network:
            if _libc.setns(network.fileno(), CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        return socket.create_connection(("127.0.0.1", PORT), 10.0)

    def _inner(self) -> int:
        """The first process inside."""
        inside = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not inside:
            raise ProcessLookupError(3, "Samba is not there yet")
        return int(inside[0])

    def _await(self) -> None:
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if _answers(self):
                return
            time.sleep(0.05)
        raise Failed(f"Samba does not come up: {self.last()}", "see that namespaces and tmpfs are to be had as root")

    def last(self) -> str:
        """The last line that it said."""
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return said[-1][:200] if said else "it says nothing"


def _answers(samba: Samba) -> bool:
    """Whether it takes connections, asked by a thread that is lost to its network afterwards."""
    import threading

    found: list[bool] = []

    def ask() -> None:
        with suppress(OSError):
            samba.reach().close()
            found.append(True)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    return bool(found)
