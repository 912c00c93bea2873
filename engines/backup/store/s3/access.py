"""Which server a bucket lies on, and what opens it.

A file of this user's own, `s3.yaml`, says it by bucket; the keys themselves lie in a file that it names.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from typing_extensions import override

from engines.backup.store import accesses
from engines.host.files import open_named
from engines.job import folders
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret

SCHEME = "s3://"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
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
ENDPOINT = re.compile(
    r"https?://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(?::(?P<port>\d{1,5}))?"
)
NAMED_SO = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a region
PRINTABLE = re.compile(r"[!-~]{1,4096}")


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

    def asked(self, bucket: str) -> str:
        """The URL that requests of a bucket go to: its name is in the host's, unless it is in the path."""
        endpoint = self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        return endpoint if self.path_style else endpoint.replace("://", f"://{bucket}.", 1)

    @property
    def place(self) -> str:
        """The server, in words."""
        return urlsplit(self.endpoint).netloc if self.endpoint else f"Amazon S3, {self.region}"


def parse(where: str) -> BucketAddress:
    """s3://BUCKET/PREFIX. Raises BadParam; keys in it are refused, for they would be in every report."""
    bucket, _, prefix = where.removeprefix(SCHEME).partition("/")
    prefix = prefix.removesuffix("/")
    shown = re.sub(r"//[^/]*@", "//…@", where)
    if "@" in bucket or not where.startswith(SCHEME):
        raise BadParam("repo", shown, "s3://BUCKET/PREFIX", "the keys belong in a file: see s3.yaml")
    if not BUCKET.fullmatch(bucket):
        raise BadParam(
            "repo", shown, "s3://BUCKET/PREFIX", "a bucket has 3 to 63 of a to z, 0 to 9, . and - as its name"
        )
    if (prefix and not PREFIX.fullmatch(prefix)) or {".", ".."} & set(prefix.split("/")):
        helps = "a prefix is names of A to Z, a to z, 0 to 9, . _ and -, with one / between"
        raise BadParam("repo", shown, "s3://BUCKET/PREFIX", helps)
    return BucketAddress(bucket, prefix)


def access_file() -> Path:
    """Where accesses are written down."""
    return folders.config("s3.yaml")


def load(address: BucketAddress) -> BucketAccess:
    """The access to a bucket. Raises Refused where none is written down, or one that cannot be used."""
    path = access_file()
    helps = f"write to {path}: '{address.bucket}: {{endpoint: https://HOST, key_file: /FILE}}'; see README"
    try:
        values = accesses.said_of(path, address.bucket, KEYS)
    except FileNotFoundError:
        raise Refused(f"nothing says how bucket {address.bucket} is reached", helps) from None
    if values is None:
        raise Refused(f"{path} says nothing of bucket {address.bucket}", helps)
    return _access(path, address, values)


def _access(path: Path, address: BucketAddress, values: dict[str, str]) -> BucketAccess:
    if not values.get("key_file"):
        raise Refused(
            f"{path} names no key_file for {address.bucket}", "name a file of two lines: access key, secret; mode 0600"
        )
    endpoint = _endpoint(path, values)
    path_style = _switch(path, "path_style", values, default=bool(endpoint))
    if endpoint and not path_style and _address_of(endpoint):
        raise Refused(f"{path} has path_style no, and endpoint {endpoint} is no name", "take path_style out")
    if not path_style:
        endpoint = endpoint.replace(f"://{address.bucket}.", "://", 1)
    region = values.get("region") or REGION
    if not NAMED_SO.fullmatch(region):
        raise Refused(f"{path} has region {region!r}", f"allowed are letters, digits and -, such as {REGION}")
    return BucketAccess(
        endpoint=endpoint,
        region=region,
        key=read_key(Path(values["key_file"])),
        lock_key_file=values.get("lock_key_file", ""),
        ca_file=_ca_file(path, values.get("ca_file", "")),
        path_style=path_style,
        checksum=_switch(path, "checksum", values, default=False),
        patience=_patience(path, values.get("patience", "")),
    )


def _endpoint(path: Path, values: dict[str, str]) -> str:
    endpoint = values.get("endpoint", "").rstrip("/")
    if endpoint and not _fits(endpoint):
        shown = re.sub(r"//[^/]*@", "//…@", endpoint)
        helps = "allowed is https://HOST or https://HOST:PORT, without a path and without keys"
        raise Refused(f"{path} has endpoint {shown!r}", helps)
    if endpoint.startswith("http://") and not _loopback(endpoint) and values.get("plain_http") != "allowed":
        raise Refused(
            f"{endpoint} is not encrypted: who listens on the way reads keys' signatures and backups",
            f"use https, or say so in {path}: 'plain_http: allowed'",
        )
    return endpoint


def _fits(endpoint: str) -> bool:
    found = ENDPOINT.fullmatch(endpoint)
    if found is None or not 0 < int(found["port"] or 443) < 65536:
        return False
    return not found["host"].startswith("[") or _address_of(endpoint) is not None


def _address_of(endpoint: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return None


def _loopback(endpoint: str) -> bool:
    known = _address_of(endpoint)
    return known.is_loopback if known else urlsplit(endpoint).hostname == "localhost"


def _ca_file(path: Path, name: str) -> str:
    if not name:
        return ""
    helps = "name a file with certificates (PEM)"
    if not Path(name).is_file():
        raise Refused(f"{path} names ca_file {name}, which does not exist, or is no file", helps)
    import ssl  # 20 ms, for those who name one

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
    except OSError:
        raise Refused(f"{path} names ca_file {name}, in which there is no certificate to read", helps) from None
    return name


def _switch(path: Path, name: str, values: dict[str, str], *, default: bool) -> bool:
    words = {"": default, "true": True, "yes": True, "false": False, "no": False}
    text = values.get(name, "").lower()
    if text not in words:
        raise Refused(f"{path} has {name} {text!r}", "allowed are yes and no")
    return words[text]


def _patience(path: Path, text: str) -> float:
    if text and not re.fullmatch(r"\d{1,5}(\.\d+)?", text):
        raise Refused(f"{path} has patience {text!r}", f"allowed are seconds up to 99999, such as {PATIENCE:.0f}")
    return float(text or PATIENCE)


def read_key(path: Path) -> Key:
    """The key in a file of mode 0600: access key, secret, and a session token where there is one. Raises Refused."""
    helps = "write it there: access key, then secret, a line each and nothing else; 0600"
    try:
        with open_named(path) as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(LONGEST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Refused(f"there is no key to read in {path}: {why}", helps) from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise Refused(f"others can read the keys in {path}", f"chmod 600 {path}")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) not in (2, 3):
        raise Refused(f"there is no key to read in {path}: it has {len(lines)} lines", helps)
    if not all(PRINTABLE.fullmatch(line) for line in lines):
        raise Refused(
            f"there is no key to read in {path}: a line has a space in it, or a letter that no key has", helps
        )
    return Key(lines[0], Secret(lines[1]), Secret(lines[2]) if len(lines) == 3 else None)
