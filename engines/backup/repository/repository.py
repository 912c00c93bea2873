"""An opened repository: its store, keys, index and points."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self, TypeVar

from typing_extensions import override

from engines.backup import names
from engines.backup.errors import Damaged, Missing
from engines.backup.names import PointName
from engines.backup.repository import config, pack, quarantine, record
from engines.backup.repository import point as points
from engines.backup.repository.config import Config
from engines.backup.repository.index import Index
from engines.backup.repository.keys import ZERO, Keys, Unlock
from engines.backup.repository.point import Head, Point
from engines.backup.repository.record import Codec
from engines.backup.store.opening import closed_on_error, exact, open_store
from engines.backup.store.store import Store
from engines.job.errors import BadParam, Refused
from engines.job.params import Params, Secret, param

T = TypeVar("T")


class RepoParams(Params, frozen=True, kw_only=True):
    """Which repository, and what opens it."""

    repo: Annotated[str, param("Repository", "where backups lie; without it $CRASHCART_REPO", kind="folder")] = ""
    key_file: Annotated[str, param("Key file", "opens a repository that was locked with it", kind="file")] = ""
    passphrase: Annotated[Secret | None, param("Passphrase", "opens a repository that was locked with it")] = None

    @override
    def asks(self) -> tuple[str, ...]:
        return ("passphrase",) if lacks_passphrase(where(self), self.key_file, self.passphrase) else ()


WHICH_POINT = param(
    "Point",
    "VM/DISK@TIME or VM/DISK@latest",
    pattern=names.POINT,
    allowed="VM/DISK@TIME or @latest",
    positional=True,
)


def where(params: RepoParams) -> str:
    """The repository's place. Raises BadParam."""
    found = params.repo or os.environ.get("CRASHCART_REPO", "")
    if not found:
        raise BadParam("repo", found, "a repository's folder", "give --repo FOLDER or set CRASHCART_REPO")
    return exact(found) if "://" in found else str(Path(found).absolute())


def lacks_passphrase(place: str, key_file: str, passphrase: Secret | None) -> bool:
    """Whether that repository opens by a passphrase and none was given. Raises Refused."""
    if passphrase is not None or key_file:
        return False
    with Repository.glance(place) as glance:
        return config.asks(glance.config, key_file)


LONGEST_POINT = record.SIZE + record.LONGEST[record.POINT] + record.OVERHEAD  # bytes of its file


def _named(name: PointName, path: str, found: T, said: PointName) -> T:
    """What was found in a file that must be of that point. Raises Damaged."""
    if said != name:
        raise Damaged(path, f"it holds {said}")
    return found


class NamesOnly:
    """What can be seen of a repository without its key: names. Closing it, or leaving its `with`, closes its store."""

    def __init__(self, store: Store, config_: Config) -> None:
        self.store = store
        self.config = config_

    def close(self) -> None:
        """Hang up; nothing is asked of it afterwards."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self, folder: str = "points") -> list[PointName]:
        """All points, oldest first within each disk."""
        found = (names.of_path(name) for name in self.store.names(folder))
        return sorted((name for name in found if name), key=names.order)

    def disks(self, vm: str, disk: str) -> list[PointName]:
        """The points of one disk, oldest first."""
        folder = f"points/{vm}/{disk}"
        return sorted(name for path in self.store.names(folder) if (name := names.of_path(path)))

    def resolve(self, text: str) -> PointName:
        """The point that VM/DISK@TIME or VM/DISK@latest means. Raises Refused."""
        wanted = names.parse(text)
        known = self.disks(wanted.vm, wanted.disk)
        if wanted.time == "latest" and known:
            return known[-1]
        if wanted in known:
            return wanted
        if not known:
            disks = {f"{name.vm}/{name.disk}" for name in self.names()}
            raise Refused(f"there is no point {text}", names.nearest(disks, f"{wanted.vm}/{wanted.disk}"))
        near = ", ".join(str(name) for name in known[-3:])
        raise Refused(f"there is no point {text}", f"there are {near}; see all: crashcart backup list")


class Repository(NamesOnly):
    """Reads records and points by name. unlock: what opened it, for processes that open it again."""

    def __init__(self, store: Store, config_: Config, keys: Keys, unlock: Unlock | None = None) -> None:
        super().__init__(store, config_)
        self.keys = keys
        self.unlock = unlock or Unlock()
        self.id = bytes.fromhex(config_.id)
        self.codec = Codec(keys)
        self.index = Index(store, self.id)
        self._belongs = False  # whether a pack was seen that is ours

    @staticmethod
    def glance(place: str) -> NamesOnly:
        """It without its key. Raises Refused, Damaged."""
        store = open_store(place)
        with closed_on_error(store):
            return NamesOnly(store, config.load(store))

    @classmethod
    def open(cls, place: str, unlock: Unlock | None = None) -> Repository:
        """Raises Refused, Damaged."""
        store = open_store(place)
        with closed_on_error(store):
            found = config.load(store)
            return cls(store, found, config.unlocked(found, unlock or Unlock()), unlock)

    @classmethod
    def of(cls, params: RepoParams, passphrase: Secret | None = None) -> Repository:
        """The one that `params` name; `passphrase` where it came another way."""
        return cls.open(where(params), Unlock(params.key_file, passphrase or params.passphrase))

    @property
    def params(self) -> RepoParams:
        """As a command takes it: for processes that open it again."""
        return RepoParams(repo=self.store.where, key_file=self.unlock.key_file, passphrase=self.unlock.passphrase)

    def load(self) -> None:
        """Read the index as it is now. Raises Refused where config.json is of another repository than the packs."""
        self.index.bad = quarantine.places(self.store)
        self.index.load()
        self._demand_own(map(pack.name, self.index.present))

    def _demand_own(self, packs: Iterable[str]) -> None:
        """Raises Refused where there are packs, and each is of another repository."""
        others = False
        for name in packs:
            self._belongs = self._belongs or self._ours(name)
            if self._belongs:
                return
            others = True
        if others:
            raise Refused(
                f"none of the packs in {self.store.where} is of the repository that its {config.NAME} names",
                f"put back the right {config.NAME}: the copy that was kept elsewhere when the repository was made",
            )

    def _ours(self, name: str) -> bool:
        """Whether it is no pack of another repository; one that does not say is not held against it."""
        try:
            return pack.owner(self.store.read(name, 0, pack.FRONT_SIZE)) == self.id
        except (Damaged, OSError):
            return True

    # ── records ─────────────────────────────────────────────────────────────────────────────────────

    def fetch(self, name: bytes, kind: int, into: memoryview | None = None) -> bytes | memoryview:
        """A record's content, checked against its id; see `read`. Raises Missing, Damaged."""
        trouble: Damaged | None = None
        for attempt in range(2):
            gone = False
            for place in self.index.find(name):
                try:
                    return self.read(place, kind, into, checked=False)
                except FileNotFoundError:
                    gone = True
                except Damaged as damaged:
                    trouble = damaged
            if trouble and not gone:
                raise trouble
            if attempt == 0:
                self.load()  # gc may have moved it since the index was read
        raise trouble or Missing(f"{record.KINDS[kind].decode()} {name.hex()[:16]}")

    def read(
        self, place: pack.RecordPlace, kind: int, into: memoryview | None = None, *, checked: bool = True
    ) -> bytes | memoryview:
        """The content of the record at `place`. Raises Damaged, FileNotFoundError.

        into: where the content goes, of its own length; then the pack leaves no trace in the page cache.
        checked: see `Codec.decode`.
        """
        head, payload = self._parts(pack.name(place.pack), place, into)
        return self.decoded(place, kind, head, payload, into, checked=checked)

    def decoded(
        self,
        place: pack.RecordPlace,
        kind: int,
        head: bytes | memoryview,
        payload: bytes | memoryview,
        into: memoryview | None = None,
        *,
        checked: bool = False,
    ) -> bytes | memoryview:
        """The content of the record that was read from `place`; see `read`. Raises Damaged."""
        where_ = f"{pack.name(place.pack)} at {place.offset}"
        header = record.parse(head)
        if header is None or header.id != place.id or header.kind != kind:
            raise Damaged(where_, "there is no such record")
        return self.codec.decode(header, payload, where_, into, checked=checked)

    def _parts(
        self, file: str, place: pack.RecordPlace, into: memoryview | None
    ) -> tuple[bytes | memoryview, bytes | memoryview]:
        """Header and payload; a payload that is the content itself comes to its place at once where that can be."""
        if into is not None and place.codec == record.RAW and not place.cipher and place.stored == len(into):
            head = memoryview(bytearray(record.SIZE))
            if self.store.read_parts(file, place.offset, (head, into)):
                return head, into
        read = self.store.read if into is None else self.store.read_once
        raw = memoryview(read(file, place.offset, place.size))
        return raw[: record.SIZE], raw[record.SIZE :]

    def map(self, point: Point, number: int) -> bytes:
        """The ids of the blocks that the point's map with that number names, 32 bytes each. Raises Missing, Damaged."""
        blocks = points.map_length(point.blocks, number)
        if point.maps[number] == ZERO:
            return points.zero_map(blocks)
        content = bytearray(blocks * 32)
        self.fetch(point.maps[number], record.MAP, memoryview(content))
        return bytes(content)

    # ── points ──────────────────────────────────────────────────────────────────────────────────────

    def point(self, name: PointName, folder: str = "points") -> Point:
        """Read a point. Raises Damaged, FileNotFoundError, Refused where config.json is of another repository."""
        content = self.store.read(name.path(folder), 0, LONGEST_POINT)
        try:
            return self._read(name, name.path(folder), content)
        except Damaged:
            if not self._belongs:
                self._demand_own(found for found in self.store.names("packs") if found.endswith(".pack"))
            raise

    def _read(self, name: PointName, path: str, content: bytes) -> Point:
        found = points.decode(self._content(path, content), path)
        return _named(name, path, found, found.name)

    def _head(self, name: PointName, path: str, content: bytes) -> Head:
        found = points.decode_head(self._content(path, content), path)
        return _named(name, path, found, PointName(found.vm, found.disk, found.time))

    def _content(self, path: str, content: bytes) -> bytes | memoryview:
        """Of a point's file, checked."""
        raw = memoryview(content)
        header = record.parse(raw[: record.SIZE])
        if header is None or header.kind != record.POINT:
            raise Damaged(path, "it is no point", "bring it back from the packs: crashcart backup verify --rebuild")
        return self.codec.decode(header, raw[record.SIZE :], path)

    def many(self, names_: Sequence[PointName], folder: str = "points") -> Iterator[tuple[PointName, Point | Damaged]]:
        """Those points that are still there, in their order, or what is wrong with one; read side by side if far."""
        return self._each(names_, folder, self._read)

    def heads(self, names_: Sequence[PointName]) -> dict[PointName, Head | Damaged]:
        """What each of those points that are still there says of itself."""
        return dict(self._each(names_, "points", self._head))

    def _each(
        self, names_: Sequence[PointName], folder: str, read: Callable[[PointName, str, bytes], T]
    ) -> Iterator[tuple[PointName, T | Damaged]]:
        files = self.store.read_all((name.path(folder) for name in names_), LONGEST_POINT)
        for name, (path, content) in zip(names_, files, strict=True):
            if isinstance(content, FileNotFoundError):
                continue
            if isinstance(content, OSError):
                yield name, Damaged(path, f"it cannot be read: {content.strerror}", "run it as its owner or as root")
                continue
            try:
                yield name, read(name, path, content)
            except Damaged as damaged:
                yield name, damaged

    def present(self, name: PointName) -> Point:
        """A point that was seen before. Raises Refused where it has gone since, Damaged."""
        try:
            return self.point(name)
        except FileNotFoundError:
            raise Refused(f"{name} is not there any more", "see what is: crashcart backup list") from None

    def point_id(self, name: PointName, folder: str = "points") -> bytes:
        """The id of the point's record. Raises Damaged, FileNotFoundError."""
        header = record.parse(self.store.read(name.path(folder), 0, record.SIZE))
        if header is None:
            raise Damaged(name.path(folder), "it is no point")
        return header.id

    def every(self, folder: str = "points") -> Iterator[tuple[PointName, Point | Damaged]]:
        """Every point, or what is wrong with it."""
        yield from self.many(self.names(folder), folder)
