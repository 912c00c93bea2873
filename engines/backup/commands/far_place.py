"""A path on another host, as ssh://[USER@]HOST[:PORT]/PATH names it to the letter, and a shell's script run there."""

from __future__ import annotations

import os
import re
import selectors
import shlex
import subprocess
import time
from dataclasses import dataclass
from typing import IO

from engines.host.child import bind_to_parent
from engines.job.errors import BadParam, Failed, Refused

SCHEME = "ssh://"
ALLOWED = "ssh://[USER@]HOST[:PORT]/PATH"
SCHEMED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
WHO = re.compile(
    r"(?:(?P<user>(?!-)[\w.+~\\-]+)@)?(?:(?P<name>(?!-)[\w.+~-]+)|\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\])"
)
ANSWERS_WITHIN = 120.0  # s for a question; sending and comparing take as long as they take
LONGEST = 65536  # bytes of an answer, or of what ssh says
SAID = 4096  # bytes of that in an error
OPTIONS = ("BatchMode=yes", "ConnectTimeout=30", "ServerAliveInterval=15", "ServerAliveCountMax=4")


def is_far(target: str) -> bool:
    """Whether a target is one of another host."""
    return target.startswith(SCHEME)


def checked(target: str) -> None:
    """Raise BadParam for an address that is none of a file or device of another host; never show a password."""
    if is_far(target):
        place_at(target, "")
    elif SCHEMED.match(target):
        raise BadParam("target", target.partition("://")[0] + "://…", ALLOWED, "name a file or device")


def place_at(target: str, config: str) -> FarPlace:
    """Where a target is: all behind the first / is its path, as it stands, # and ? too. Raises BadParam."""
    authority, slash, path = target.removeprefix(SCHEME).partition("/")
    helps = "leave the password out: ssh goes in by a key or an agent"
    if ":" in authority.rpartition("@")[0]:
        raise BadParam("target", "(hidden) for it holds a password", ALLOWED, helps)
    host, port = authority, ""
    if not authority.endswith("]"):
        host, _, port = authority.partition(":") if "[" not in authority else authority.rpartition(":")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise BadParam("target", "(hidden) for what is no port may be a password", ALLOWED, helps)
    who = WHO.fullmatch(host)
    if not who or (authority.endswith(":")) or not slash or not path or path.endswith("/"):
        raise BadParam("target", target, ALLOWED, "name a file or device there; an IPv6 address stands in [ ]")
    if not path.isprintable():
        raise BadParam("target", target, f"{ALLOWED} without characters that do not print", "rename it there first")
    user = f"{who['user']}@" if who["user"] else ""
    return FarPlace(user + (who["name"] or who["six"]), int(port or 0), f"/{path}", config)


def _answer(asked: subprocess.Popen[bytes], end: float) -> tuple[bytes, bytes]:
    """The first LONGEST bytes of what it prints and complains of, once it has ended; the rest is thrown away.

    Raises TimeoutError.
    """
    assert asked.stdin and asked.stdout and asked.stderr
    asked.stdin.close()
    kept = {asked.stdout: bytearray(), asked.stderr: bytearray()}
    with selectors.DefaultSelector() as ready:
        for stream, said in kept.items():
            ready.register(stream, selectors.EVENT_READ, said)
        while ready.get_map():
            for key, _ in ready.select(max(0.0, end - time.monotonic())):
                piece = os.read(key.fd, LONGEST)
                key.data.extend(piece[: LONGEST - len(key.data)])
                if not piece:
                    ready.unregister(key.fileobj)
            if time.monotonic() > end:
                raise TimeoutError
    try:
        asked.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(kept[asked.stdout]), bytes(kept[asked.stderr])


@dataclass(frozen=True)
class FarPlace:
    """host: as ssh takes it, with its user. port: 0 for ssh's own. config: ssh's own file of settings."""

    host: str
    port: int
    path: str
    config: str

    def ask(self, script: str, **words: object) -> str:
        """What the far side prints. Raises Failed, Refused."""
        with self.begin(script, subprocess.PIPE, **words) as asked:
            try:
                said, wrong = _answer(asked, time.monotonic() + ANSWERS_WITHIN)
            except TimeoutError:
                asked.kill()
                raise self.silent() from None
        if asked.returncode:
            raise self.failed(asked.returncode, wrong)
        return said.decode("utf-8", "replace")

    def begin(self, script: str, errors: IO[bytes] | int = subprocess.PIPE, **words: object) -> subprocess.Popen[bytes]:
        """Run it there, with `words` and the path in variables of theirs. Raises Refused."""
        given = "".join(f"{name}={shlex.quote(str(word))}\n" for name, word in {"path": self.path, **words}.items())
        options = [part for option in OPTIONS for part in ("-o", option)]
        where = [*(("-F", self.config) if self.config else ()), *(("-p", str(self.port)) if self.port else ())]
        argv = ["ssh", *options, *where, "--", self.host, f"LC_ALL=C sh -c {shlex.quote(given + script)}"]
        try:
            return subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, preexec_fn=bind_to_parent()
            )
        except FileNotFoundError:
            raise Refused("there is no ssh on this machine", "install it: apt install openssh-client") from None

    def silent(self) -> Failed:
        """That no answer came."""
        return Failed(f"{self.host} did not answer in {ANSWERS_WITHIN:.0f} s", "look at it, then again")

    def failed(self, code: int, wrong: bytes) -> Failed:
        """What ssh or the far side said."""
        words = " ".join(wrong[-SAID:].decode("utf-8", "replace").split()) or f"it ended with {code}"
        return Failed(f"{self.host}: {words}", f"try: ssh {self.host} true")
