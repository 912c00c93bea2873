"""A repository's keys: derived from one secret, which lies open or wrapped by a key file or passphrase."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.host.files import open_named
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret

NONCE = 12  # bytes
SCRYPT = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MiB and about 0.1 s; RFC 7914
SCRYPT_MOST = 1 << 17  # n; whoever can write a config must not have us take more than 128 MiB
ZERO = bytes(32)


@dataclass(frozen=True)
class Keys:
    """identity: of BLAKE3 ids. seed: of position hashes. data: of the cipher; empty without one."""

    identity: bytes
    seed: bytes
    data: bytes
    cipher: str

    def __repr__(self) -> str:
        return f"Keys({self.cipher})"

    def id(self, kind: bytes, content: bytes | bytearray | memoryview) -> bytes:
        """32 bytes that name `content`; `kind` is block, map, point or root."""
        from blake3 import blake3

        digest = blake3(kind + b"\0", key=self.identity)
        digest.update(content)
        return digest.digest()

    def disk_seed(self, vm: str, disk: str) -> int:
        """64 secret bits for the position hashes of one disk."""
        from blake3 import blake3

        return int.from_bytes(blake3(f"{vm}/{disk}".encode(), key=self.seed).digest()[:8], "little")


def derive(secret: bytes, cipher: str) -> Keys:
    """The keys of a repository's secret."""
    from blake3 import blake3

    def key(use: str) -> bytes:
        return blake3(secret, derive_key_context=f"crashcart backup 1 {use}").digest()

    return Keys(key("identity"), key("seed"), key("data") if cipher != "none" else b"", cipher)


@dataclass(frozen=True)
class Kdf:
    """How the key that wraps the secret is derived: `kind` is key-file or scrypt; salt in hex and scrypt's numbers."""

    kind: str
    salt: str = ""
    n: int = 0
    r: int = 0
    p: int = 0


@dataclass(frozen=True)
class Unlock:
    """What opens an encrypted repository: the path of a key file, or a passphrase."""

    key_file: str = ""
    passphrase: Secret | None = None

    def __bool__(self) -> bool:
        return bool(self.key_file or self.passphrase)

    def fresh(self) -> Kdf:
        """For a new repository."""
        return Kdf("key-file") if self.key_file else Kdf("scrypt", os.urandom(16).hex(), **SCRYPT)

    def key(self, kdf: Kdf) -> bytes:
        """The key that wraps the secret. Raises Refused."""
        if kdf.kind == "key-file":
            if not self.key_file:
                raise Refused("the repository is locked by a key file", "give it: --key-file FILE")
            return _from_file(self.key_file)
        if self.passphrase is None:
            raise Refused("the repository is locked by a passphrase", "give it: --passphrase-file FILE")
        return _from_words(self.passphrase, kdf)


def demand_one(param: str, key_file: str, passphrase: Secret | None) -> None:
    """That what is to lock a repository is one thing, and will do, before anything is made. Raises BadParam.

    param: what the key file is called.
    """
    if not key_file:
        return
    if passphrase is not None:
        raise BadParam(param, key_file, "nothing beside a passphrase", "give one of them: a key is a way in of its own")
    with suppress(OSError):  # said below
        mode = os.stat(key_file).st_mode  # noqa: PTH116  through links, as /dev/stdin is one
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.path.realpath(key_file).startswith("/dev/pts/"):
            return  # it can be read once, by the run
    _content(key_file, param)


def _content(path: str, param: str = "key_file") -> bytes:
    try:
        with open_named(Path(path)) as stream:
            content = stream.read(1024 * 1024)
    except OSError as error:
        raise BadParam(param, path, f"a readable file ({error.strerror})") from None
    if len(content) < 32:
        raise BadParam(param, path, "32 random bytes or more", f"make one: head -c 32 /dev/urandom > {path}")
    return content


def _from_file(path: str) -> bytes:
    from blake3 import blake3

    content = _content(path)
    return blake3(content, derive_key_context="crashcart backup 1 key file").digest()


def _from_words(passphrase: Secret, kdf: Kdf) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    power = kdf.n > 1 and not kdf.n & (kdf.n - 1)
    if not (power and kdf.n <= SCRYPT_MOST and kdf.r == SCRYPT["r"] and 1 <= kdf.p <= 4):
        raise Refused("the repository's key derivation is out of bounds", "put back a copy of config.json")
    scrypt = Scrypt(salt=bytes.fromhex(kdf.salt), length=32, n=kdf.n, r=kdf.r, p=kdf.p)
    return scrypt.derive(passphrase.reveal().encode())


def wrap(secret: bytes, key: bytes, said: bytes) -> bytes:
    """The secret, encrypted; `said` is authenticated with it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, secret, said)


def unwrap(wrapped: bytes, key: bytes, said: bytes) -> bytes:
    """The secret. Raises Refused where the key is another."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(wrapped[:NONCE], wrapped[NONCE:], said)
    except (InvalidTag, ValueError):
        raise Refused("this key does not open the repository", "give the key that it was made with") from None
