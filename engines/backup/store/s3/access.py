"""Which server a bucket lies on, and what opens it.

A file of this user's own, `s3.yaml`, says it by bucket; the keys themselves lie in a file that it names.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from engines.host.files import open_named
from engines.job import folders, jobfile
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret

SCHEME = "s3://"
ADDRESS = re.compile(r"^s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(?:/[A-Za-z0-9._-]+)*)/?$")
KEYS = (
    "endpoint",
    "region",
    "key_file",
    "lock_key_file",
    "ca_file",
    "path_style",
    "checksum",
    "patience",
    "plain_http",
)
PATIENCE = 120.0  # s that a request is tried again
REGION = "us-east-1"
LONGEST = 65536  # bytes of a file with a key
ENDPOINT = re.compile(r"^https?://[A-Za-z0-9._\[\]:-]+/?$")


@dataclass(frozen=True)
class BucketAddress:
    """A prefix in a bucket; empty for the whole bucket."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True, eq=False)
class Key:
    """An access key with its secret; `token` where it is one that expires. Equal where all that is."""

    id: str
    secret: Secret
    token: Secret | None = None

    def _all(self) -> tuple[str, str, str]:
        return self.id, self.secret.reveal(), self.token.reveal() if self.token else ""

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._all() == other._all()

    @override
    def __hash__(self) -> int:
        return hash(self._all())


@dataclass(frozen=True)
class BucketAccess:
    """Where a bucket is and what opens it.

    endpoint: the server's URL; empty for Amazon's own. key: for all that a backup does.
    lock_key_file: of the key that may lock objects, needed by nothing else. path_style: the bucket in the path, not
    in the host's name. checksum: whether every upload carries a SHA-256. patience: seconds of trying again.
    """

    endpoint: str
    region: str
    key: Key
    lock_key_file: str = ""
    ca_file: str = ""
    path_style: bool = True
    checksum: bool = False
    patience: float = PATIENCE

    @property
    def plain(self) -> bool:
        """Whether it goes unencrypted."""
        return self.endpoint.startswith("http://")

    @property
    def place(self) -> str:
        """The server, in words."""
        return urlsplit(self.endpoint).netloc if self.endpoint else f"Amazon S3, {self.region}"


def parse(where: str) -> BucketAddress:
    """s3://BUCKET/PREFIX. Raises BadParam; keys in it are refused, for they would be in every report."""
    found = ADDRESS.match(where)
    prefix = found["prefix"].strip("/") if found else ""
    if found is None or "\n" in where or {".", ".."} & set(prefix.split("/")):
        shown = re.sub(r"//[^/]*@", "//…@", where)
        raise BadParam("repo", shown, "s3://BUCKET/PREFIX", "the keys belong in a file: see s3.yaml")
    return BucketAddress(found["bucket"], prefix)


def access_file() -> Path:
    """Where accesses are written down."""
    return folders.config("s3.yaml")


def load(address: BucketAddress) -> BucketAccess:
    """The access to a bucket. Raises Refused where none is written down, or one that cannot be used."""
    import yaml

    path = access_file()
    helps = f"write to {path}: '{address.bucket}: {{endpoint: https://HOST, key_file: /FILE}}'; see README"
    try:
        if (raw := jobfile.configured(path, "access file")) is None:
            raise Refused(f"nothing says how bucket {address.bucket} is reached", helps)
        found = yaml.safe_load(raw)
    except (RecursionError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(f"{path} cannot be read: {str(error).splitlines()[0]}", "mend it, or remove it") from None
    entry = found.get(address.bucket) if isinstance(found, dict) else None
    if entry is None:
        raise Refused(f"{path} says nothing of bucket {address.bucket}", helps)
    return _access(path, address, entry)


def _access(path: Path, address: BucketAddress, entry: Any) -> BucketAccess:
    if not isinstance(entry, dict) or any(key not in KEYS for key in entry):
        raise Refused(f"{path} says of {address.bucket} what is not understood", f"allowed are {', '.join(KEYS)}")
    values = {str(key): str(value) for key, value in entry.items()}
    ca_file = values.get("ca_file", "")
    if ca_file and not Path(ca_file).is_file():
        raise Refused(f"{path} names ca_file {ca_file}, which does not exist", "name a file with certificates (PEM)")
    if not values.get("key_file"):
        raise Refused(
            f"{path} names no key_file for {address.bucket}", "name a file of two lines: access key, secret; mode 0600"
        )
    return BucketAccess(
        endpoint=_endpoint(path, values),
        region=values.get("region") or REGION,
        key=read_key(Path(values["key_file"])),
        lock_key_file=values.get("lock_key_file", ""),
        ca_file=ca_file,
        path_style=_switch(path, "path_style", values, default=bool(values.get("endpoint"))),
        checksum=_switch(path, "checksum", values, default=False),
        patience=_patience(path, values.get("patience", "")),
    )


def _endpoint(path: Path, values: dict[str, str]) -> str:
    endpoint = values.get("endpoint", "").rstrip("/")
    if endpoint and not ENDPOINT.match(endpoint):
        raise Refused(f"{path} has endpoint {endpoint!r}", "allowed is https://HOST or https://HOST:PORT")
    if endpoint.startswith("http://") and not _loopback(endpoint) and values.get("plain_http") != "allowed":
        raise Refused(
            f"{endpoint} is not encrypted: who listens on the way reads keys' signatures and backups",
            f"use https, or say so in {path}: 'plain_http: allowed'",
        )
    return endpoint


def _loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _switch(path: Path, name: str, values: dict[str, str], *, default: bool) -> bool:
    words = {"": default, "true": True, "yes": True, "false": False, "no": False}
    text = values.get(name, "").lower()
    if text not in words:
        raise Refused(f"{path} has {name} {text!r}", "allowed are yes and no")
    return words[text]


def _patience(path: Path, text: str) -> float:
    if text and not re.fullmatch(r"\d{1,5}(\.\d+)?", text):
        raise Refused(f"{path} has patience {text!r}", f"allowed are seconds, such as {PATIENCE:.0f}")
    return float(text or PATIENCE)


def read_key(path: Path) -> Key:
    """The key in a file of mode 0600: access key, secret, and a session token where there is one. Raises Refused."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Refused(f"others can read the keys in {path}", f"chmod 600 {path}")
        with open_named(path) as stream:
            text = stream.read(LONGEST).decode()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        lines = []
    if len(lines) not in (2, 3):
        raise Refused(
            f"there is no key to read in {path}", "write it there: access key, then secret, a line each; 0600"
        )
    return Key(lines[0], Secret(lines[1]), Secret(lines[2]) if len(lines) == 3 else None)
