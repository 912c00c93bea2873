"""Where a repository's files lie: the few calls that a local folder and a far server both can do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

DEEPEST = 8  # folders below one that is listed; ours has three
TEMPORARY = ".tmp-"
T = TypeVar("T")
R = TypeVar("R")

Bytes = bytes | bytearray | memoryview


class Appender(Protocol):
    """A file that grows under a name of its own until it is sealed under another."""

    offset: int

    def write(self, parts: Sequence[Bytes]) -> None:
        """Append all parts. Raises OSError; what was appended then is undefined behind `offset`."""
        ...

    def push(self) -> None:
        """Begin to make durable what was appended; for a thread that has time, so that `seal` is short."""
        ...

    def seal(self, name: str) -> None:
        """Make it durable, then known as `name` and no longer as what it was."""
        ...

    def abandon(self) -> None:
        """Let go of it; what was written stays under the first name."""
        ...


class Store(Protocol):
    """Files by name; a name is `folder/…/file`. Missing files raise FileNotFoundError, all else OSError.

    `put` and `seal` are durable when they return, and show the file whole or not at all.
    """

    where: str
    at_once: ClassVar[int] = 1
    """Questions worth asking at a time: more than one where each answer comes from far."""
    pack: ClassVar[int] = 256 * 1024 * 1024
    """Bytes of a pack that suits it: small enough that gc copies little, large enough that 10 TB is 40,000 files."""

    unindexed: ClassVar[int] = 16
    """Packs whose footers may be read anew by every run; above, an index file is written."""

    folds: ClassVar[bool] = True
    """Whether it may lie where A and a are one name, which is asked for before a point is made."""

    def begin(self, folders: Sequence[str]) -> None:
        """Make the folders of a new repository."""
        ...

    def lacks(self) -> list[str]:
        """What it cannot do that is done another way, in words; tried in a repository that exists. Raises OSError."""
        return []

    def end(self, folders: Sequence[str]) -> None:
        """Remove them as far as they are empty, and the repository's own with them."""
        ...

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """`length` bytes from `offset`, fewer only at the file's end; to the end where `length` is -1."""
        ...

    def read_all(self, names: Iterable[str], most: int) -> Iterator[tuple[str, bytes | OSError]]:
        """Many small files, the first `most` bytes of each, in their order; an error where one cannot be read."""
        for name in names:
            try:
                yield name, self.read(name, 0, most)
            except OSError as error:
                yield name, error

    def read_once(self, name: str, offset: int, length: int) -> Bytes:
        """The same, of what nobody is likely to read again soon; valid until this thread's next call."""
        ...

    def read_parts(self, name: str, offset: int, parts: Sequence[memoryview]) -> bool:
        """Fill the parts, one behind the other, where that saves a copy; False where nothing was read."""
        ...

    def size(self, name: str) -> int:
        """Bytes."""
        ...

    def age(self, name: str) -> float:
        """Seconds since it was last written or touched, by one and the same clock."""
        ...

    def touch(self, name: str) -> None:
        """Make its age 0."""
        ...

    def names(self, folder: str) -> Iterator[str]:
        """Every file below `folder`, as full names, temporary files left out; nothing where there is no such folder."""
        ...

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each."""
        for name in self.names(folder):
            with suppress(FileNotFoundError):
                yield name, self.size(name)

    def missing(self, names: Sequence[str]) -> set[str]:
        """Which of these files are not there, asked anew; for a few, where `names` would list them all."""
        found = set()
        for name in names:
            try:
                self.size(name)
            except FileNotFoundError:
                found.add(name)
        return found

    def put(self, name: str, content: Bytes, *, new: bool = False, durable: bool = True) -> None:
        """Write a small file whole. With `new`, raises FileExistsError where the name is taken, atomically.

        Not `durable`: it need not outlive a power cut.
        """
        ...

    def lease(self, name: str, holder: bytes, gone: Callable[[bytes], bool]) -> bytes:  # noqa: ARG002  none to ask for
        """Have `holder` written there by one at a time; who has it, where it is another that is not `gone`.

        Empty where it is ours, and where the store has no such thing: then only sessions tell who is at work.
        """
        return b""

    def exchange(self, name: str, before: bytes, after: bytes) -> None:
        """Put `after` in the place of `before`. Raises FileExistsError where something else is there.

        Where the store has no such thing, between looking and putting another may come.
        """
        if self.read(name, 0, len(before) + 1) != before:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        self.put(name, after)

    def append(self, name: str, keep: int = 0) -> Appender:
        """Begin a file, or go on with the first `keep` bytes of one that exists."""
        ...

    def rename(self, name: str, to: str) -> None:
        """Durable rename; replaces `to`."""
        ...

    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """The same of many (name, to), durable at the end; the first names of those that were there."""
        done = []
        for name, to in pairs:
            with suppress(FileNotFoundError):
                self.rename(name, to)
                done.append(name)
        return done

    def delete(self, name: str) -> None:
        """Remove a file; the folder goes with its last file."""
        ...

    def sweep(self) -> None:
        """Remove temporary files that killed processes left here over a day ago."""
        ...

    def release(self) -> None:
        """Close what is kept open for speed; it opens again when it is needed."""
        ...

    def close(self) -> None:
        """Let go of all, a line to a far server among it; nothing is asked of this store afterwards."""
        ...

    def local(self, name: str) -> Path:
        """A local path with this file's content, to be mapped: for files that never change (index, positions)."""
        ...

    def scratch(self, name: str) -> Path:
        """A local path on which a file that becomes `name` by `adopt` can be built."""
        ...

    def adopt(self, path: Path, name: str) -> None:
        """Durably move what was built at `scratch(name)` to `name`."""
        ...


def side_by_side(store: Store, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `work` gives for each item, in their order; as many at a time as the store is worth asking."""
    if store.at_once < 2:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(store.at_once, thread_name_prefix="asking") as pool:
        yield from pool.map(work, items)
