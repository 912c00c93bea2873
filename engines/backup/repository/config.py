"""What a repository is: its id, sizes and secret, written when it is made and replaced whole where its keys change."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import msgspec

from engines.backup.errors import Damaged, FarFailed
from engines.backup.repository import ownership
from engines.backup.repository.keys import Kdf, Keys, Unlock, derive, unwrap, wrap
from engines.backup.repository.ways import Way, opened_by
from engines.backup.store.store import Store, side_by_side
from engines.job.errors import Refused

NAME = "config.json"
COPY = "packs/config.json"  # whoever still has the packs has it
FORMAT = 1
SEVERAL = 2  # the format of a repository whose keys were ever changed
BLOCK = 1024 * 1024  # bytes
CIPHERS = ("none", "aes-256-gcm", "chacha20-poly1305")
LONGEST = 64 * 1024  # bytes of a config
MOST_WAYS = 32  # each may take a second to be tried
HEX = re.compile(r"(?:[0-9a-f]{2})*")


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
    ways: tuple[Way, ...] = ()


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
    store.put(COPY, written(config))
    return config


def load(store: Store) -> Config:
    """Read and check it, or its copy. Raises Refused where there is no repository, Damaged where both are broken."""
    first, copy = side_by_side(store, partial(_tried, store), (NAME, COPY))
    if isinstance(first, Config):
        return _own(store, first, copy) if isinstance(copy, Config) else first
    if isinstance(first, Refused):
        raise first
    if isinstance(copy, Config):
        return copy
    if isinstance(copy, Refused):
        raise copy
    if isinstance(first, Damaged):
        raise first
    if next((name for name in _names(store) if name.endswith(".pack")), ""):
        raise Damaged(
            NAME,
            "it and its copy are lost, and with them the secret without which nothing in these packs can be read",
            "put back the copy that was kept elsewhere when the repository was made",
        )
    raise Refused(
        f"{store.where} is no backup repository", f"make one: crashcart backup init {shlex.quote(store.where)}"
    )


def _tried(store: Store, name: str) -> Config | Refused | Damaged | OSError:
    try:
        return _loaded(store, name)
    except (Refused, Damaged, FileNotFoundError, NotADirectoryError) as error:
        return error


def _own(store: Store, first: Config, copy: Config) -> Config:
    """The first, unless its copy is of another repository, and that of the packs. Raises Refused where neither is."""
    if copy.id == first.id:
        return first
    owner = next(
        (owner for name in _names(store) if name.endswith(".pack") and (owner := ownership.of(store, name))), ""
    )
    if owner == copy.id:
        return copy
    if owner in ("", first.id):
        return first
    raise Refused(
        f"{NAME} and {COPY} are of two other repositories than the packs in {store.where}",
        "put back the copy that was kept elsewhere when the repository was made",
    )


def _names(store: Store) -> list[str]:
    try:
        return list(store.names("packs"))
    except OSError:
        return []


def mend(store: Store, config: Config) -> Iterator[str]:
    """Put back whichever of the two is lost or broken, or older; what was wrong, in words.

    What is broken may be the last trace of the packs' secret: nothing is put over it in the name of another repository.
    """
    for name, other in ((NAME, COPY), (COPY, NAME)):
        try:
            there = _loaded(store, name)
            if there == config:
                continue
            wrong = "is older" if there.id == config.id else "is of another repository"
        except (Damaged, FileNotFoundError) as error:
            wrong = "is lost" if isinstance(error, FileNotFoundError) else "is damaged"
        except (Refused, OSError):
            continue
        if wrong != "is older" and (doubt := ownership.doubt(store, config.id)):
            yield f"{name} {wrong}, and was left alone: {doubt}. Put back the copy that was kept elsewhere"
            continue
        try:
            store.put(name, written(config))
        except OSError as error:
            yield f"{name} {wrong}, and cannot be put back ({error.strerror}): copy {other} there"
            continue
        if name == NAME or wrong in ("is damaged", "is of another repository"):
            yield f"{name} {wrong}: it was put back from {other}. Find out what took it"


def _loaded(store: Store, name: str) -> Config:
    """One of the two. Raises Refused, Damaged, FileNotFoundError."""
    try:
        raw = store.read(name, 0, LONGEST)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except FarFailed as failed:
        raise Refused(failed.why, failed.what_helps) from None
    except OSError as error:
        raise Refused(f"{store.where}: {error.strerror}", "name a repository that can be read") from None
    try:
        config = msgspec.json.decode(raw, type=Config)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _broken(str(error)) from None
    if config.format not in (FORMAT, SEVERAL):
        raise Refused(
            f"{store.where} has format {config.format}",
            "this crashcart knows formats 1 and 2; use the one that made it",
        )
    if written(config) != raw:
        raise _broken("its check does not fit")
    _bounds(config)
    return config


def _kdf(config: Config) -> Kdf:
    return Kdf(config.kdf, config.salt, config.n, config.r, config.p)


def _bounds(config: Config) -> None:
    held: dict[str, Any] = {
        "id": len(config.id) == 32 and _hex(config.id),
        "block": config.block == BLOCK,
        "pack": 1 << 20 <= config.pack < 1 << 32,
        "cipher": config.cipher in CIPHERS,
        "secret": len(config.secret) == (64 if config.cipher == "none" else 0) and _hex(config.secret),
        "wrapped": _hex(config.wrapped) and all(_hex(way.wrapped) for way in config.ways),
        "salt": _hex(config.salt) and all(_hex(way.salt) for way in config.ways),
        "ways": len(config.ways) <= MOST_WAYS
        and bool(config.ways) == (config.format == SEVERAL)
        and not (config.ways and config.cipher == "none"),
    }
    for name, holds in held.items():
        if not holds:
            raise _broken(f"{name} is out of bounds")


def _hex(text: str) -> bool:
    return HEX.fullmatch(text) is not None


def _broken(why: str) -> Damaged:
    return Damaged(
        NAME, why, "put back a copy of it, or type it in from its recovery sheet (crashcart backup key paper)"
    )


def ways(config: Config) -> tuple[Way, ...]:
    """What opens it; nothing where it is not locked."""
    if config.cipher == "none" or config.ways:
        return config.ways
    only = Way(name="first", added=config.created, wrapped=config.wrapped, **asdict(_kdf(config)))
    return (only,)


def asks(config: Config, key_file: str = "") -> bool:
    """Whether a passphrase is needed: it is one that opens it, and no key file was given where one could."""
    kinds = {way.kind for way in ways(config)}
    return "scrypt" in kinds and not (key_file and "key-file" in kinds)


def unlocked(config: Config, unlock: Unlock) -> Keys:
    """The keys. Raises Refused where they are locked and what was given does not open them."""
    return derive(secret(config, unlock), config.cipher)


def secret(config: Config, unlock: Unlock) -> bytes:
    """What all keys come from. Raises Refused as `unlocked` does."""
    if config.cipher == "none":
        return bytes.fromhex(config.secret)
    if config.ways:
        return opened_by(config.ways, unlock, _lasting(config))[0]
    return unwrap(bytes.fromhex(config.wrapped), unlock.key(_kdf(config)), _compact(config, "wrapped", "check"))


def opens(config: Config, name: str, unlock: Unlock) -> bool:
    """Whether `unlock` is the way of that name."""
    try:
        return (
            opened_by(tuple(way for way in config.ways if way.name == name), unlock, _lasting(config))[1].name == name
        )
    except Refused:
        return False


def _lasting(config: Config) -> bytes:
    """What no change of keys changes."""
    return _compact(config, "format", "wrapped", "check", "kdf", "salt", "n", "r", "p", "ways")


def with_ways(config: Config, unlock: Unlock, names: tuple[str, ...], new: dict[str, Unlock]) -> Config:
    """The config with those of its ways that are named, and new ones. Raises Refused where `unlock` does not open it.

    A way of format 1 that stays is wrapped anew, so it must be the one that `unlock` is.
    """
    known, said = secret(config, unlock), _lasting(config)
    kept = [way for way in ways(config) if way.name in names]
    if not config.ways:
        kept = [Way.made(way.name, unlock, known, said, added=way.added) for way in kept]
    made = [Way.made(name, opens, known, said) for name, opens in new.items()]
    bare = msgspec.structs.replace(config, format=SEVERAL, wrapped="", kdf="", salt="", n=0, r=0, p=0)
    return msgspec.structs.replace(bare, ways=(*kept, *made))


def replace(store: Store, before: Config, after: Config) -> None:
    """Put `after` in the place of `before`, whole or not at all. Raises Refused where another changed it meanwhile."""
    changed = Refused(f"the keys of {store.where} were changed meanwhile", "look again: crashcart backup key list")
    if load(store) != before:
        raise changed
    there = [_tried(store, name) for name in (NAME, COPY)]
    if any(not isinstance(one, Config) or one.id != after.id for one in there) and (
        doubt := ownership.doubt(store, after.id)
    ):
        raise Refused(
            f"{NAME} or {COPY} is lost or broken, or of another repository, and {doubt}",
            "put back the copy that was kept elsewhere when the repository was made",
        )
    try:
        if there[0] == before:
            store.exchange(NAME, written(before), written(after))
        else:
            store.put(NAME, written(after))  # in the place of what is lost or broken
    except FileExistsError:
        raise changed from None
    store.put(COPY, written(after))  # a key that was taken away opens neither
