"""Who logs in where, with what, and by which host key the far machine is known.

A file of this user's own, `sftp.yaml`, says it by address; what it does not say comes from OpenSSH's files.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from engines.backup.store import accesses
from engines.host.files import open_named
from engines.job import folders
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret

ADDRESS = re.compile(
    r"^sftp://(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?(?P<path>/.*)$"
)
KEYS = ("key_file", "password_file", "host_key", "patience")
LONGEST = 65536  # bytes of a file with a password
PATIENCE = 90.0  # s that a broken line is tried again
FINGERPRINT = re.compile(r"^SHA256:[A-Za-z0-9+/]{43}$")


@dataclass(frozen=True)
class SftpAddress:
    """A folder on a far machine."""

    user: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"sftp://{self.place}{self.path}"

    @property
    def place(self) -> str:
        """Who and where, as sftp.yaml names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + (f":{self.port}" if self.port != 22 else "")


@dataclass(frozen=True)
class SftpAccess:
    """What opens the door: a key, a password, or neither where OpenSSH's own keys and agent do.

    host_key: the fingerprint that the far machine must have; empty where a known_hosts file names it.
    patience: seconds that a broken line is tried again.
    """

    key_file: str = ""
    password: Secret | None = None
    host_key: str = ""
    patience: float = PATIENCE


def parse(where: str) -> SftpAddress:
    """sftp://USER@HOST:PORT/FOLDER. Raises BadParam; a password in it is refused, for it would be in every report."""
    found = ADDRESS.match(where)
    if found is None or "\n" in where:
        shown = re.sub(r"//[^/]*@", "//…@", where)
        raise BadParam("repo", shown, "sftp://USER@HOST:PORT/FOLDER", "a password belongs in a file: see sftp.yaml")
    port = int(found["port"] or 22)
    if not 0 < port < 65536:
        raise BadParam("repo", where, "a port from 1 to 65535")
    user = found["user"] or os.environ.get("USER") or "root"
    return SftpAddress(user, found["host"].strip("[]"), port, "/" + found["path"].strip("/"))


def access_file() -> Path:
    """Where accesses are written down."""
    return folders.config("sftp.yaml")


def load(address: SftpAddress) -> SftpAccess:
    """The access for an address; an empty one where none is written down. Raises Refused."""
    path = access_file()
    try:
        values = accesses.said_of(path, address.place, KEYS)
    except FileNotFoundError:
        return SftpAccess()
    return _access(path, address, values) if values is not None else SftpAccess()


def _access(path: Path, address: SftpAddress, values: dict[str, str]) -> SftpAccess:
    host_key = values.get("host_key", "")
    if host_key and not FINGERPRINT.match(host_key):
        raise Refused(f"{path} has host_key {host_key!r} for {address.place}", "allowed is SHA256: and 43 characters")
    key_file = values.get("key_file", "")
    if key_file and not Path(key_file).is_file():
        raise Refused(f"{path} names key file {key_file}, which does not exist", "name a private key")
    password = _password(Path(values["password_file"])) if values.get("password_file") else None
    return SftpAccess(key_file, password, host_key, _patience(path, values.get("patience", "")))


def _patience(path: Path, text: str) -> float:
    if text and not re.fullmatch(r"\d{1,5}(\.\d+)?", text):
        raise Refused(f"{path} has patience {text!r}", "allowed are seconds, such as 90")
    return float(text or PATIENCE)


def _password(path: Path) -> Secret:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Refused(f"others can read the password in {path}", f"chmod 600 {path}")
        with open_named(path) as stream:
            return Secret(stream.read(LONGEST).decode().splitlines()[0])
    except (OSError, IndexError, UnicodeDecodeError):
        raise Refused(f"there is no password to read in {path}", "write it there, one line, mode 0600") from None
