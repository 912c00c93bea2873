"""A repository in a bucket; what is mapped is kept in a cache here."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from engines.backup.store.cache import FarCache
from engines.backup.store.s3 import access
from engines.backup.store.s3.access import BucketAccess, BucketAddress
from engines.backup.store.s3.appender import S3Appender
from engines.backup.store.s3.bucket import ASIDE, Bucket
from engines.backup.store.store import TEMPORARY, Bytes, Store
from engines.job.errors import Refused

PLAIN = re.compile(r"^[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*$")  # what a bucket may call a file of ours
FOREVER = (".pack", ".idx")  # endings of files that never change under their name
TOUCHED = 600.0  # s between touches of one file: each is a version where the bucket keeps versions
KEPT = 86400.0  # s that what a killed process left aside waits
READ = 16 * 1024 * 1024  # bytes read at a time into the cache


class S3Store(Store):
    """Objects below a prefix; see Store. An `append` cannot be taken up: `keep` must be 0."""

    at_once: ClassVar[int] = 16
    unindexed: ClassVar[int] = 4
    folds: ClassVar[bool] = False
    pack: ClassVar[int] = 64 * 1024 * 1024  # an upload that is cut is lost: less of it then

    def __init__(self, address: BucketAddress, opens: BucketAccess) -> None:
        self.where = str(address)
        self.bucket = Bucket(address, opens)
        self._cache = FarCache(self.where)
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._touched: dict[str, float] = {}
        self._behind: float | None = None  # s that our clock is ahead of the bucket's

    @override
    def begin(self, folders: Sequence[str]) -> None:
        from engines.backup.store.s3 import fitness

        fitness.demand(self.bucket)

    @override
    def end(self, folders: Sequence[str]) -> None:
        """A bucket has no folders."""

    @override
    def close(self) -> None:
        self.release()

    @override
    def release(self) -> None:
        """Nothing is kept open."""

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    @override
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        if length < 0:
            return self.bucket.whole(name)[offset:]
        return self.bucket.read(name, offset, length)

    @override
    def read_once(self, name: str, offset: int, length: int) -> memoryview:
        return self.bucket.view(name, offset, length)

    @override
    def read_parts(self, name: str, offset: int, parts: Sequence[memoryview]) -> bool:
        return False

    @override
    def size(self, name: str) -> int:
        known = self._sizes.get(name)
        if known is None:
            known = self.bucket.head(name).size
            self._note(name, known)
        return known

    def _note(self, name: str, size: int) -> None:
        if name.endswith(FOREVER):
            with self._lock:
                self._sizes[name] = size

    @override
    def names(self, folder: str) -> Iterator[str]:
        return (name for name, _ in self.sizes(folder))

    @override
    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        within = "" if folder == "." else f"{folder}/"
        for name, size in self.bucket.listed(within.rstrip("/")):
            parts = name.split("/")
            if (
                name.startswith(within)
                and PLAIN.match(name)
                and not {".", ".."} & set(parts)
                and not parts[-1].startswith(TEMPORARY)
            ):
                self._note(name, size)
                yield name, size

    @override
    def read_all(self, names: Iterable[str], most: int) -> Iterator[tuple[str, bytes | OSError]]:
        def one(name: str) -> tuple[str, bytes | OSError]:
            try:
                return name, self.read(name, 0, most)
            except OSError as error:
                return name, error

        with ThreadPoolExecutor(self.at_once) as reading:
            yield from reading.map(one, names)

    @override
    def missing(self, names: Sequence[str]) -> set[str]:
        def gone(name: str) -> bool:
            try:
                self.bucket.head(name)
            except FileNotFoundError:
                return True
            return False

        with ThreadPoolExecutor(self.at_once) as asking:
            return {name for name, is_gone in zip(names, asking.map(gone, names), strict=True) if is_gone}

    # ── the bucket's clock ──────────────────────────────────────────────────────────────────────────

    @override
    def age(self, name: str) -> float:
        """The clock is the bucket's, to a second or two."""
        return max(self._now() - self.bucket.head(name).modified, 0.0)

    @override
    def touch(self, name: str) -> None:
        now = time.monotonic()
        if now - self._touched.get(name, -TOUCHED) < TOUCHED:
            return
        self.bucket.put(name, self.bucket.whole(name))
        self._touched[name] = now

    def _now(self) -> float:
        if self._behind is None:
            name = _aside()
            try:
                self.bucket.put(name, b"")
                self._behind = time.time() - self.bucket.head(name).modified
                self.bucket.delete(name)
            except OSError:
                self._behind = self._behind or 0.0  # a key that may not write: ages are by our clock then
        return time.time() - self._behind

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────

    @override
    def put(self, name: str, content: Bytes, *, new: bool = False, durable: bool = True) -> None:
        if new:
            self.bucket.create(name, bytes(content))
        else:
            self.bucket.put(name, bytes(content))

    @override
    def lease(self, name: str, holder: bytes, gone: Callable[[bytes], bool]) -> bytes:
        """By If-None-Match, and taken over by If-Match: of two that find it left behind, one gets it."""
        while True:
            with suppress(FileExistsError):
                self.bucket.create(name, holder)
                return b""
            try:
                tag, held = self.bucket.head(name).tag, self.bucket.whole(name)
                if held == holder:
                    return b""
                if not gone(held):
                    return held
                self.bucket.swap(name, holder, tag)
                return b""
            except (FileNotFoundError, FileExistsError):
                continue  # somebody was quicker: whoever it is will be found there, or nobody any more

    @override
    def exchange(self, name: str, before: bytes, after: bytes) -> None:
        """By If-Match: of two that change it at once, one does."""
        tag = self.bucket.head(name).tag
        if self.bucket.whole(name) != before:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        self.bucket.swap(name, after, tag)

    @override
    def append(self, name: str, keep: int = 0) -> S3Appender:
        if keep:
            raise OSError(errno.EOPNOTSUPP, f"{name} lies in a bucket, where nothing is appended to what exists")
        return S3Appender(self.bucket, name)

    @override
    def rename(self, name: str, to: str) -> None:
        """Killed half-way, it is there under both names."""
        self.bucket.copy(name, to)
        self._forget(name)
        self.bucket.delete(name)

    @override
    def delete(self, name: str) -> None:
        self._forget(name)
        self.bucket.head(name)  # a bucket deletes what is not there without a word
        self.bucket.delete(name)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._sizes.pop(name, None)
            self._touched.pop(name, None)
        self._cache.forget(name)

    @override
    def sweep(self, older: float = KEPT) -> None:
        """`older`: seconds. Uploads that were never completed are the bucket's lifecycle's to clear away."""
        for name, _ in list(self.bucket.listed(ASIDE)):
            try:
                if self.age(name) > older:
                    self.bucket.delete(name)
            except FileNotFoundError:
                continue

    # ── what is mapped ──────────────────────────────────────────────────────────────────────────────

    @override
    def local(self, name: str) -> Path:
        return self._cache.filled(name, self.size(name), READ, self.read)

    @override
    def scratch(self, name: str) -> Path:
        return self._cache.scratch(name)

    @override
    def adopt(self, path: Path, name: str) -> None:
        self.bucket.put(name, path)
        self._cache.take(path, name)


def _aside() -> str:
    return f"{ASIDE}/{TEMPORARY}{os.urandom(8).hex()}"


def open_s3(where: str) -> S3Store:
    """The store at s3://BUCKET/PREFIX. Raises Refused."""
    try:
        import obstore  # noqa: F401  a missing one is said before anything is tried
    except ImportError:
        raise Refused("obstore is not installed", "pip install 'crashcart[s3]'") from None
    address = access.parse(where)
    return S3Store(address, access.load(address))
