"""What the blocks of a disk hashed to, by position: a mapped cache that says what did not change."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path

from engines.backup.pages import mapping
from engines.backup.repository.keys import Keys
from engines.backup.store.store import Store
from engines.host.files import open_file

MAGIC = b"CCPOSN\x00\x01"
HEADER = struct.Struct("<8s16s32sQQQQ")
SIZE = 96  # bytes
ENTRY = 16  # bytes a block
COPY = 1 << 22  # bytes


def mark(seed: int) -> int:
    """What tells that an array was made with this seed, without telling the seed."""
    import xxhash

    return xxhash.xxh3_64_intdigest(b"mark", seed=seed)


class BlockHashes:
    """The array of one disk: read from the point before, written for the next; threads write at blocks of their own."""

    def __init__(self, store: Store, repository: bytes, vm: str, disk: str, keys: Keys, blocks: int) -> None:
        self._store = store
        self._repository = repository
        self._folder = f"positions/{vm}/{disk}"
        self._mark = mark(keys.disk_seed(vm, disk))
        self.blocks = blocks
        self._old: mmap.mmap | None = None
        self._known = 0
        self._new: mmap.mmap | None = None
        self._written: mapping.Writable | None = None
        self._path: Path | None = None

    def name(self, root: bytes) -> str:
        """The file for points with that root."""
        return f"{self._folder}/{root.hex()}.pos"

    def load(self, root: bytes) -> bool:
        """Take the array of the point before; False where there is none that fits, which costs a full hash."""
        try:
            descriptor = open_file(self._store.local(self.name(root)), follow=False)
        except OSError:
            return False
        try:
            size = os.fstat(descriptor).st_size
            if size < SIZE:
                return False
            found = mapping.readable(descriptor, size)
        finally:
            os.close(descriptor)
        blocks = self._parse(found, root)
        if blocks is None:
            found.close()
            return False
        self._old, self._known = found, min(blocks, self.blocks)
        return True

    def _parse(self, found: mmap.mmap, root: bytes) -> int | None:
        import xxhash

        raw = found[:SIZE]
        if xxhash.xxh3_64_intdigest(raw[:88]) != int.from_bytes(raw[88:], "little"):
            return None
        magic, owner, bound, seed_mark, blocks, _, _ = HEADER.unpack(raw[:88])
        fits = (magic, owner, bound, seed_mark) == (MAGIC, self._repository, root, self._mark)
        return blocks if fits and len(found) == SIZE + blocks * ENTRY else None

    def same(self, first: int, digests: bytes) -> bool:
        """Whether the blocks from `first` on hashed to this before."""
        last = first + len(digests) // ENTRY
        if self._old is None or last > self._known:
            return False
        return self._old[SIZE + first * ENTRY : SIZE + last * ENTRY] == digests

    @property
    def changes(self) -> bool:
        """Whether the array is another than before."""
        return self._new is not None

    def begin(self) -> None:
        """Make the new array, a copy of the old one at first; call before the first `put`, under a lock."""
        if self._new is not None:
            return
        self._path = self._store.scratch(self.name(bytes(32)))
        with self._path.open("x+b") as stream:
            with contextlib.suppress(OSError):  # a file system without modes
                os.fchmod(stream.fileno(), 0o600)
            if self._old is not None:
                for at in range(0, SIZE + self._known * ENTRY, COPY):
                    stream.write(self._old[at : min(at + COPY, SIZE + self._known * ENTRY)])
            stream.flush()
            # Room is taken now: a mapped page that finds the disk full later would end the process.
            try:
                os.posix_fallocate(stream.fileno(), 0, SIZE + self.blocks * ENTRY)
            except OSError as error:
                if error.errno not in mapping.UNABLE:
                    raise
            stream.truncate(SIZE + self.blocks * ENTRY)
            self._written = mapping.Writable(stream.fileno(), SIZE + self.blocks * ENTRY)
            self._new = self._written.bytes

    def put(self, first: int, digests: bytes) -> None:
        """The blocks from `first` on hash to this now."""
        assert self._new is not None
        self._new[SIZE + first * ENTRY : SIZE + first * ENTRY + len(digests)] = digests

    def commit(self, root: bytes) -> None:
        """Make the new array that of `root`, and drop those of other points."""
        import xxhash

        if self._new is not None and self._path is not None:
            hasher = xxhash.xxh3_64()
            with memoryview(self._new) as view:
                for at in range(SIZE, len(view), COPY):
                    hasher.update(view[at : at + COPY])
            front = HEADER.pack(MAGIC, self._repository, root, self._mark, self.blocks, hasher.intdigest(), 0)
            self._new[:SIZE] = front + xxhash.xxh3_64_intdigest(front).to_bytes(8, "little")
            assert self._written is not None
            self._written.flush()
            self._store.adopt(self._path, self.name(root))
        for name in self._store.names(self._folder):
            if name != self.name(root) and name.endswith(".pos"):
                try:
                    self._store.delete(name)
                except FileNotFoundError:
                    continue

    def close(self) -> None:
        """Let go; what was not committed is removed."""
        for mapped in (self._old, self._written):
            if mapped is not None:
                mapped.close()
        self._old = self._new = self._written = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def sound(store: Store, name: str) -> bool:
    """Whether a position file is as it was written, body and all."""
    import xxhash

    hasher = xxhash.xxh3_64()
    try:
        with store.local(name).open("rb") as stream:
            raw = stream.read(SIZE)
            while part := stream.read(COPY):
                hasher.update(part)
    except FileNotFoundError:
        return True
    if len(raw) < SIZE or xxhash.xxh3_64_intdigest(raw[:88]) != int.from_bytes(raw[88:], "little"):
        return False
    check: int = HEADER.unpack(raw[:88])[5]
    return hasher.intdigest() == check
