"""libvirt's own command, asked in words: one process a question, and never a translated answer.

Source: virsh(1).
"""

from __future__ import annotations

import os
import re
import select
import selectors
import subprocess
import time
from collections.abc import Sequence
from typing import IO, NamedTuple

ANSWERS_WITHIN = 20.0  # s
LONGEST = 64 << 20  # bytes of an answer: the descriptions of 8,000 domains
PIECE = 65536  # bytes read at once, and kept of its complaints
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
    try:
        with _started(words, uri) as child:
            try:
                answer, complaints = _exchanged(child, commands.encode(), time.monotonic() + within)
            except TimeoutError:
                raise VirshFailed(f"virsh did not answer within {within:.0f} s") from None
            finally:
                child.kill()
    except FileNotFoundError:
        raise VirshFailed("virsh is not installed", missing=True) from None
    except OSError as error:
        raise VirshFailed(f"virsh cannot be asked: {error.strerror or error}") from None
    if child.returncode:
        said = complaints.decode("utf-8", "replace").strip().splitlines()
        raise VirshFailed(said[-1].removeprefix("error: ") if said else "virsh failed without a word")
    return answer.decode("utf-8", "replace")


def _started(words: Sequence[str], uri: str) -> subprocess.Popen[bytes]:
    """By pipes: virsh ends well, too, when a file that it prints into is full, and its answer is then cut off."""
    pipe = subprocess.PIPE
    env = {**os.environ, "LC_ALL": "C"}
    argv = ["virsh", "--quiet", *connect(uri), *words]
    return subprocess.Popen(argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, env=env)


def _exchanged(child: subprocess.Popen[bytes], commands: bytes, end: float) -> tuple[bytes, bytes]:
    """What it prints, and the last of its complaints, once it has ended. Raises TimeoutError, VirshFailed, OSError.

    Its answer alone is read to the end: an ssh that it leaves behind for the next question holds the complaints open.
    """
    assert child.stdin and child.stdout and child.stderr
    answer, complaints = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdin, selectors.EVENT_WRITE)
        ready.register(child.stdout, selectors.EVENT_READ)
        ready.register(child.stderr, selectors.EVENT_READ)
        while child.stdout in ready.get_map():
            for key, _ in ready.select(_left(end)):
                stream: IO[bytes] = key.fileobj  # type: ignore[assignment]
                if stream is child.stdin:
                    commands = _given(child.stdin, commands)
                    done = not commands
                else:
                    said = answer if stream is child.stdout else complaints
                    done = not _taken(stream, said)
                if done:
                    ready.unregister(stream)
                    if stream is child.stdin:
                        stream.close()
            if len(answer) > LONGEST:  # whoever may define a domain writes its description
                raise VirshFailed(f"virsh prints more than {LONGEST >> 20} MiB")
            del complaints[:-PIECE]
    try:
        child.wait(_left(end))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(answer), bytes(complaints)


def _left(end: float) -> float:
    """Raises TimeoutError."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _given(stream: IO[bytes], commands: bytes) -> bytes:
    """What is left to be said; nothing where virsh does not listen any more."""
    try:
        return commands[os.write(stream.fileno(), commands[: select.PIPE_BUF]) :] if commands else b""
    except BrokenPipeError:
        return b""


def _taken(stream: IO[bytes], said: bytearray) -> int:
    """Bytes that came; 0 at the end."""
    piece = os.read(stream.fileno(), PIECE)
    said += piece
    return len(piece)
