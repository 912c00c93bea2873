"""Several ways into one repository: each wraps the same secret by a key file or a passphrase of its own."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import msgspec

from engines.backup.repository.keys import Kdf, Unlock, unwrap, wrap
from engines.job.errors import Refused

NAME = r"^[A-Za-z0-9._-]{1,40}$"


class Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way in; see FORMAT.md. `kind` is key-file or scrypt."""

    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    kind: str
    added: str
    wrapped: str
    salt: str = ""
    n: int = 0
    r: int = 0
    p: int = 0

    @classmethod
    def made(cls, name: str, unlock: Unlock, secret: bytes, said: bytes, added: str = "") -> Way:
        """A way that `unlock` opens. said: what of the repository is authenticated with it. Raises Refused."""
        kdf = unlock.fresh()
        when = added or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        bare = cls(name=name, added=when, wrapped="", **asdict(kdf))
        sealed = wrap(secret, unlock.key(kdf), bare.said(said))
        return msgspec.structs.replace(bare, wrapped=sealed.hex())

    @property
    def kdf(self) -> Kdf:
        """How its key is derived."""
        return Kdf(self.kind, self.salt, self.n, self.r, self.p)

    def said(self, of_repository: bytes) -> bytes:
        """What is authenticated with the secret."""
        fields = {name: value for name, value in msgspec.to_builtins(self).items() if name != "wrapped"}
        return of_repository + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @property
    def words(self) -> str:
        """What it is, for people."""
        return "a key file" if self.kind == "key-file" else "a passphrase"


def opened_by(ways: tuple[Way, ...], unlock: Unlock, said: bytes) -> tuple[bytes, Way]:
    """The secret, and the way that `unlock` is. Raises Refused where it is none of them."""
    fits = [way for way in ways if bool(unlock.key_file if way.kind == "key-file" else unlock.passphrase)]
    for way in fits:
        try:
            return unwrap(bytes.fromhex(way.wrapped), unlock.key(way.kdf), way.said(said)), way
        except Refused:
            if len(fits) == 1:
                raise
    if fits:
        raise Refused("this key does not open the repository", "give one that does: crashcart backup key list")
    known = " or ".join(sorted({way.words for way in ways}))
    raise Refused(f"the repository is locked by {known}", "give it: --key-file FILE or --passphrase-file FILE")
