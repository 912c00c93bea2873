"""Namespaces without names: they are there while their first process lives, and gone with it whatever ends it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import lru_cache
from pathlib import Path

from engines.host.child import bind_to_parent
from engines.job.errors import Refused

CLONE_NEWNET = 0x40000000  # linux/sched.h
MS_BIND = 0x1000  # linux/mount.h
PLAIN = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
AS_USER = [*PLAIN, "--user", "--map-root-user"]
TRIAL = [
    "sh",
    "-c",
    "ip link set lo up && mount -t tmpfs trial /mnt && nft add table t"
    " && ip link add trial0 type veth peer name trial1",
]

_libc = ctypes.CDLL(None, use_errno=True)


@lru_cache
def command() -> tuple[str, ...]:
    """The words before a command that give it namespaces of its own, found out by trying. Raises Refused."""
    said = ""
    for words in (PLAIN, AS_USER) if os.geteuid() == 0 else (AS_USER,):
        try:
            tried = subprocess.run(
                [*words, *TRIAL],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                preexec_fn=bind_to_parent(),
            )
        except FileNotFoundError:
            raise Refused("unshare is not installed", "apt-get install util-linux") from None
        if tried.returncode == 0:
            return tuple(words)
        said = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"ended with {tried.returncode}"
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if f"{program}: not found" in said:
            raise Refused(f"{program} is not installed", f"apt-get install {package}")
    raise Refused(
        f"no network namespace is to be had: {said}",
        "run as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1",
    )


def new_network() -> None:
    """Move this process into a network namespace of its own."""
    if _libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    words = [text.encode() if text is not None else None for text in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def furnish(scratch: Path, nameserver: str) -> None:
    """Give this mount namespace a scratch of its own in memory, and a resolver that knows only `nameserver`.

    The empty folder `scratch` is only where it is mounted: what lies in it vanishes with the namespace.
    """
    mount("crashcart", str(scratch), "tmpfs", 0, "mode=700,size=2g")
    for folder in ("tmp", "home", "etc"):
        (scratch / folder).mkdir()
    texts = {
        "resolv.conf": f"nameserver {nameserver}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "hosts": "127.0.0.1 localhost\n",
    }
    for name, text in texts.items():
        ours = scratch / "etc" / name
        ours.write_text(text)
        theirs = Path("/etc", name).resolve()
        if theirs.exists():
            mount(str(ours), str(theirs), None, MS_BIND)
        else:
            _stand_in(theirs, ours)
    for daemon in ("/run/nscd", "/run/systemd/resolve"):  # a name service outside must not be asked
        if Path(daemon).is_dir() and not Path("/etc/resolv.conf").resolve().is_relative_to(daemon):
            mount("crashcart", daemon, "tmpfs")


def _stand_in(theirs: Path, ours: Path) -> None:
    """A link that leads nowhere (resolv.conf without its daemon): give it the first folder that is missing."""
    place = theirs.parent
    while not place.is_dir():
        place = place.parent
    mount("crashcart", str(place), "tmpfs")
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text(ours.read_text())


def set_sysctls(settings: dict[str, int], root: Path = Path("/proc/sys/net/ipv4")) -> None:
    """Write this namespace's network sysctls."""
    for name, value in settings.items():
        (root / name).write_text(str(value))
