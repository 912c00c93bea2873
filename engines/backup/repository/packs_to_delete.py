"""Packs that gc is about to delete: named first, so that no backup takes what lies in them for stored."""

from __future__ import annotations

import re

import msgspec

from engines.backup.store.store import Store

FILE = re.compile(r"^condemned/([0-9a-f]{32})\.json$")


def put(store: Store, session: str, packs: set[bytes]) -> None:
    """Condemn some packs."""
    store.put(f"condemned/{session}.json", msgspec.json.encode(sorted(pack.hex() for pack in packs)))


def every(store: Store) -> dict[str, frozenset[bytes]]:
    """Condemned packs by the name of their list; a list that cannot be read condemns nothing."""
    found = {}
    for name in store.names("condemned"):
        match = FILE.match(name)
        if not match:
            continue
        try:
            packs = msgspec.json.decode(store.read(name, 0, 1 << 26), type=list[str])
            found[match[1]] = frozenset(bytes.fromhex(pack) for pack in packs)
        except FileNotFoundError:
            continue
        except (ValueError, msgspec.DecodeError):
            found[match[1]] = frozenset()
    return found


def drop(store: Store, session: str) -> None:
    """A list is done with."""
    store.delete(f"condemned/{session}.json")
