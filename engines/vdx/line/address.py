"""Where a switch is, and what this machine remembers of it: host key, and the weak algorithms agreed to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.host.files import write_whole
from engines.job import runs
from engines.job.errors import BadParam

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@\\-]*")


@dataclass(frozen=True)
class Address:
    """A host name or address, without brackets, and a TCP port."""

    host: str
    port: int = 22

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == 22 else f"{shown}:{self.port}"

    @property
    def identity(self) -> str:
        """What a run's lock is taken on."""
        return f"vdx {self.host}:{self.port}".lower()


def address(name: str, text: str) -> Address:
    """HOST, HOST:PORT, [IPv6] or [IPv6]:PORT. Raises BadParam."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "22"
    if not HOST.fullmatch(host) or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
        raise BadParam(name, text, "HOST or HOST:PORT (an IPv6 address in brackets)")
    return Address(host.strip("[]"), int(port))


def user(name: str, text: str) -> str:
    """A login name. Raises BadParam."""
    if not USER.fullmatch(text):
        raise BadParam(name, text, "letters, digits, dot, dash, underscore; not a dash first")
    return text


class Remembered:
    """What is kept of one switch, in a folder of its own so that runs on others never write the same file."""

    def __init__(self, where: Address) -> None:
        words = re.sub(r"[^A-Za-z0-9.-]", "_", where.host.lower())
        self.folder = runs.home().parent / "vdx" / f"{words}_{where.port}"

    def prepare(self) -> None:
        """Make the folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def known_hosts(self) -> Path:
        """OpenSSH's file with its host key."""
        return self.folder / "known_hosts"

    def forget_key(self) -> None:
        """Let the next login take whichever host key it meets."""
        self.known_hosts.unlink(missing_ok=True)

    def legacy(self) -> dict[str, tuple[str, ...]]:
        """The weak algorithms agreed to, by ssh option."""
        try:
            return msgspec.json.decode((self.folder / "legacy.json").read_bytes(), type=dict[str, tuple[str, ...]])
        except (OSError, msgspec.DecodeError):
            return {}

    def agree(self, option: str, names: tuple[str, ...]) -> None:
        """Keep an agreement."""
        known = self.legacy()
        known[option] = tuple(dict.fromkeys((*known.get(option, ()), *names)))
        write_whole(self.folder / "legacy.json", msgspec.json.encode(known))

    def saw(self, hostname: str, vcsid: int) -> None:
        """Keep which vcsid a switch has, so that a later plan does not hand it out again."""
        self.prepare()
        write_whole(self.folder / "seen.json", msgspec.json.encode({"hostname": hostname, "vcsid": vcsid}))


class Seen(msgspec.Struct, frozen=True):
    """A switch that was looked at before."""

    hostname: str
    vcsid: int


def seen_before() -> list[Seen]:
    """Every switch this machine has looked at, with the vcsid it had."""
    found = []
    for path in sorted((runs.home().parent / "vdx").glob("*/seen.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Seen))
        except (OSError, msgspec.DecodeError):
            continue
    return found
