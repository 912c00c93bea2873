"""libvirt's own command, asked in words: one process a question, and never a translated answer.

Source: virsh(1).
"""

from __future__ import annotations

import os
import subprocess

ANSWERS_WITHIN = 20.0  # s


class VirshFailed(Exception):
    """virsh is not there, does not answer, or says no; `missing` where it is not installed."""

    def __init__(self, words: str, *, missing: bool = False) -> None:
        super().__init__(words)
        self.missing = missing


def connect(uri: str = "") -> list[str]:
    """Words that choose the libvirt: `uri`, what the environment says, or the system's VMs, which is root's default."""
    if uri:
        return ["--connect", uri]
    return [] if os.environ.get("LIBVIRT_DEFAULT_URI") else ["--connect", "qemu:///system"]


def virsh(*words: str, uri: str = "", within: float = ANSWERS_WITHIN) -> str:
    """What virsh prints. Raises VirshFailed."""
    try:
        done = subprocess.run(
            ["virsh", "--quiet", *connect(uri), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise VirshFailed("virsh is not installed", missing=True) from None
    except (OSError, subprocess.TimeoutExpired):
        raise VirshFailed(f"virsh did not answer within {within:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise VirshFailed(said[-1].removeprefix("error: ") if said else "virsh failed without a word")
    return done.stdout.decode("utf-8", "replace")
