"""libvirt's own command, asked in words: one process a question, and never a translated answer.

Source: virsh(1).
"""

from __future__ import annotations

import os
import re
import subprocess

ANSWERS_WITHIN = 20.0  # s
DOMAIN = re.compile(r"<domain[ >].*?</domain>", re.DOTALL)
UUID = re.compile(r"^(?:virsh [>#] ?)*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$", re.MULTILINE)


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


def descriptions(uri: str = "", within: float = ANSWERS_WITHIN) -> list[str]:
    """The XML of every domain, running or not, by two processes however many there are; one that goes is left out.

    within: seconds for each question. Raises VirshFailed.
    """
    uuids = UUID.findall(virsh("--readonly", uri=uri, within=within, commands="list --all --uuid\n"))
    told = "".join(f"dumpxml {uuid}\n" for uuid in uuids)
    return DOMAIN.findall(virsh("--readonly", uri=uri, within=within, commands=told)) if uuids else []


def virsh(*words: str, uri: str = "", within: float = ANSWERS_WITHIN, commands: str = "") -> str:
    """What virsh prints. commands: instead of words, a line each, of which one that fails ends no other.

    Raises VirshFailed.
    """
    try:
        done = subprocess.run(
            ["virsh", "--quiet", *connect(uri), *words],
            input=commands.encode(),
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
