"""libvirt's own command, asked in words: one process a question, and never a translated answer.

Source: virsh(1).
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import tempfile
from typing import NamedTuple

ANSWERS_WITHIN = 20.0  # s
LONGEST = 64 << 20  # bytes of an answer: the descriptions of 8,000 domains
DOMAIN = re.compile(r"<domain[ >].*?^</domain>", re.DOTALL | re.MULTILINE)
UUID = re.compile(r"^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$", re.MULTILINE)
NAMED = re.compile(r"^  <uuid>([0-9a-f-]{36})</uuid>", re.MULTILINE)
LOOKS = 2  # at who is listed: a domain that goes between list and description is no trouble, one that stays is


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


class Described(NamedTuple):
    """What libvirt says of its domains. texts: a description each, in XML; unread: the UUIDs of those that are listed
    and were not described.
    """

    texts: list[str]
    unread: list[str]


def descriptions(uri: str = "", within: float = ANSWERS_WITHIN) -> Described:
    """Every domain, running or not, by two processes however many there are; one that goes meanwhile is left out.

    within: seconds for each question. Raises VirshFailed.
    """
    found: dict[str, str] = {}
    unread: list[str] = []
    for _ in range(LOOKS):
        listed = UUID.findall(virsh("--readonly", "list", "--all", "--uuid", uri=uri, within=within))
        found |= _told([uuid for uuid in listed if uuid not in found], uri, within)
        unread = [uuid for uuid in listed if uuid not in found]
        if not unread:
            break
    return Described(list(found.values()), unread)


def _told(uuids: list[str], uri: str, within: float) -> dict[str, str]:
    """By UUID: its description, where there is one. Raises VirshFailed."""
    if not uuids:
        return {}
    commands = "".join(f"dumpxml {uuid}\n" for uuid in uuids)
    texts = DOMAIN.findall(virsh("--readonly", uri=uri, within=within, commands=commands))
    return {named[1]: text for text in texts if (named := NAMED.search(text))}


def virsh(*words: str, uri: str = "", within: float = ANSWERS_WITHIN, commands: str = "") -> str:
    """What virsh prints. commands: instead of words, a line each, of which one that fails ends no other, nor shows in
    the exit code.

    Raises VirshFailed.
    """
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
        try:
            done = subprocess.run(
                ["virsh", "--quiet", *connect(uri), *words],
                input=commands.encode(),
                stdout=answer,
                stderr=complaints,
                timeout=within,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
                preexec_fn=_bounded,
            )
        except FileNotFoundError:
            raise VirshFailed("virsh is not installed", missing=True) from None
        except (OSError, subprocess.SubprocessError):
            raise VirshFailed(f"virsh did not answer within {within:.0f} s") from None
        if done.returncode == -signal.SIGXFSZ:
            raise VirshFailed(f"virsh prints more than {LONGEST >> 20} MiB")
        if done.returncode:
            complaints.seek(0)
            said = complaints.read(65536).decode("utf-8", "replace").strip().splitlines()
            raise VirshFailed(said[-1].removeprefix("error: ") if said else "virsh failed without a word")
        answer.seek(0)
        return answer.read().decode("utf-8", "replace")


def _bounded() -> None:
    """Whoever may define a domain writes its description, which is held in memory."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LONGEST, LONGEST))
