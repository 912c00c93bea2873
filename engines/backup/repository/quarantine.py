"""Records that were found damaged: never used again, and stored anew by the next backup that sees their content.

Further names of the points that need one lie in files of their own beside the record's: nothing is read to be written
back, so that a verify and a rename at once lose nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from engines.backup.repository.pack import RecordPlace
from engines.backup.store.store import Store

FILE = re.compile(r"^quarantine/([0-9a-f]{32})-([0-9]{1,10})\.json$")
MORE = re.compile(r"^(quarantine/[0-9a-f]{32}-[0-9]{1,10})\.[0-9a-f]{8}\.json$")


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """One damaged record. `points` are those that need it."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    kind: int
    pack: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    offset: int
    why: str
    found: str
    points: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Its file."""
        return f"quarantine/{self.pack}-{self.offset}.json"


def put(store: Store, place: RecordPlace, why: str, points: tuple[str, ...] = ()) -> Bad:
    """Take a place out of use."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    bad = Bad(
        id=place.id.hex(),
        kind=place.kind,
        pack=place.pack.hex(),
        offset=place.offset,
        why=why,
        found=now,
        points=points,
    )
    store.put(bad.path, msgspec.json.encode(bad))
    return bad


def end(store: Store, place: RecordPlace) -> None:
    """Take a place back into use."""
    stem = f"quarantine/{place.pack.hex()}-{place.offset}"
    more = [name for name in store.names("quarantine") if (found := MORE.match(name)) and found[1] == stem]
    for name in (f"{stem}.json", *more):
        with contextlib.suppress(FileNotFoundError):
            store.delete(name)


def also(store: Store, names: Mapping[str, str]) -> None:
    """Points that need a damaged record go by other names as well: theirs by the name that is known."""
    for bad in list(every(store)):
        new = sorted({names[name] for name in bad.points if name in names and names[name] not in bad.points})
        if new:
            more = msgspec.structs.replace(bad, points=tuple(new))
            path = f"{bad.path.removesuffix('.json')}.{os.urandom(4).hex()}.json"
            store.put(path, msgspec.json.encode(more))


def places(store: Store) -> frozenset[tuple[bytes, int]]:
    """(pack, offset) of every record that is out of use; the file names alone say it."""
    found = (FILE.match(name) for name in store.names("quarantine"))
    return frozenset((bytes.fromhex(match[1]), int(match[2])) for match in found if match)


def pack_of(name: str) -> str:
    """The pack that a file tells of; empty for any other name."""
    found = FILE.match(name) or MORE.match(name)
    return name.removeprefix("quarantine/").partition("-")[0] if found else ""


def every(store: Store) -> Iterator[Bad]:
    """All of them, each with every name that is noted of its points.

    A file that cannot be read still takes its place out of use, but tells nothing.
    """
    own: list[Bad] = []
    more: dict[str, list[str]] = {}
    for name, content in store.read_all(sorted(store.names("quarantine")), 1 << 20):
        if isinstance(content, OSError):
            continue
        with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            bad = msgspec.json.decode(content, type=Bad)
            if MORE.match(name):
                more.setdefault(bad.path, []).extend(bad.points)
            else:
                own.append(bad)
    for bad in own:
        yield msgspec.structs.replace(bad, points=tuple(dict.fromkeys((*bad.points, *more.get(bad.path, ())))))
