"""What a repository is: its id, sizes and secret, written once when it is made."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import msgspec

from engines.backup.errors import Damaged
from engines.backup.repository.keys import Kdf, Keys, Unlock, derive, unwrap, wrap
from engines.backup.store.store import Store
from engines.job.errors import Refused

NAME = "config.json"
FORMAT = 1
BLOCK = 1024 * 1024  # bytes
CIPHERS = ("none", "aes-256-gcm", "chacha20-poly1305")
LONGEST = 64 * 1024  # bytes of a config


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """config.json; see FORMAT.md."""

    format: int
    id: str
    block: int
    pack: int
    created: str
    cipher: str
    check: str = ""
    secret: str = ""
    wrapped: str = ""
    kdf: str = ""
    salt: str = ""
    n: int = 0
    r: int = 0
    p: int = 0


def written(config: Config) -> bytes:
    """The file's bytes, its check filled in."""
    fields = {**msgspec.to_builtins(config), "check": _check(config)}
    return (json.dumps(fields, sort_keys=True, indent=1) + "\n").encode()


def _compact(config: Config, *without: str) -> bytes:
    fields = {name: value for name, value in msgspec.to_builtins(config).items() if name not in without}
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _check(config: Config) -> str:
    from blake3 import blake3

    return blake3(_compact(config, "check")).hexdigest()


def create(store: Store, *, cipher: str, unlock: Unlock) -> Config:
    """Write the config of a new repository. Raises FileExistsError where there is one."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    bare = Config(format=FORMAT, id=os.urandom(16).hex(), block=BLOCK, pack=store.pack, created=now, cipher=cipher)
    secret = os.urandom(32)
    if cipher == "none":
        config = msgspec.structs.replace(bare, secret=secret.hex())
    else:
        kdf = unlock.fresh()
        bare = msgspec.structs.replace(bare, kdf=kdf.kind, salt=kdf.salt, n=kdf.n, r=kdf.r, p=kdf.p)
        sealed = wrap(secret, unlock.key(kdf), _compact(bare, "wrapped", "check"))
        config = msgspec.structs.replace(bare, wrapped=sealed.hex())
    store.put(NAME, written(config), new=True)
    return config


def load(store: Store) -> Config:
    """Read and check it. Raises Refused where there is no repository, Damaged where it is broken."""
    try:
        raw = store.read(NAME, 0, LONGEST)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(
            f"{store.where} is no backup repository", f"make one: crashcart backup init {store.where}"
        ) from None
    except OSError as error:
        raise Refused(f"{store.where}: {error.strerror}", "name a repository that can be read") from None
    try:
        config = msgspec.json.decode(raw, type=Config)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(str(error)) from None
    if config.format != FORMAT:
        raise Refused(
            f"{store.where} has format {config.format}", "this crashcart knows format 1; use the one that made it"
        )
    if written(config) != raw:
        raise _broken("its check does not fit")
    _bounds(config)
    return config


def _kdf(config: Config) -> Kdf:
    return Kdf(config.kdf, config.salt, config.n, config.r, config.p)


def _bounds(config: Config) -> None:
    held: dict[str, Any] = {
        "id": len(config.id) == 32,
        "block": config.block == BLOCK,
        "pack": 1 << 20 <= config.pack < 1 << 32,
        "cipher": config.cipher in CIPHERS,
        "secret": len(config.secret) == (64 if config.cipher == "none" else 0),
    }
    for name, holds in held.items():
        if not holds:
            raise _broken(f"{name} is out of bounds")


def _broken(why: str) -> Damaged:
    return Damaged(NAME, why, "put back a copy of it: it is written once and never changes")


def unlocked(config: Config, unlock: Unlock) -> Keys:
    """The keys. Raises Refused where they are locked and what was given does not open them."""
    if config.cipher == "none":
        return derive(bytes.fromhex(config.secret), config.cipher)
    secret = unwrap(bytes.fromhex(config.wrapped), unlock.key(_kdf(config)), _compact(config, "wrapped", "check"))
    return derive(secret, config.cipher)
