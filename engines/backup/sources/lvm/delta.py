"""What differs between two snapshots of a thin pool, from the pool's own metadata: no block of either is read.

Sources: thin_delta(8); Documentation/admin-guide/device-mapper/thin-provisioning.rst (reserve_metadata_snap).
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engines.backup.sources.lvm import kernel
from engines.backup.sources.lvm.command import change, last_word
from engines.backup.sources.options import NoHint
from engines.host.child import bind_to_parent
from engines.host.device import Device
from engines.job.errors import CrashcartError
from engines.job.lock import folder

SECTOR = 512  # bytes
CHUNK = re.compile(rb'data_block_size="(\d+)"')
RANGE = re.compile(rb'<(\w+) begin="(\d+)" length="(\d+)"/>')
END = b"</superblock>"
WAITS = 60.0  # s for another of our runs that looks into the same pool


@dataclass(frozen=True)
class PoolDevices:
    """A thin pool: its uuid as device-mapper has it, its own device and that of its metadata."""

    id: str
    device: tuple[int, int]
    metadata: tuple[int, int]


def changed(pool: PoolDevices, before: int, now: int) -> Iterator[tuple[int, int]]:
    """Ranges of bytes in which the thin devices with those ids may differ, as (start, end). Raises NoHint."""
    try:
        with _metadata_snapshot(pool):
            yield from _delta(Device(*pool.metadata).node, before, now)
    except (CrashcartError, OSError) as error:
        raise NoHint(f"thin_delta could not be asked: {error}") from None


def _delta(metadata: str, before: int, now: int) -> Iterator[tuple[int, int]]:
    argv = ["thin_delta", "--metadata-snap", "--thin1", str(before), "--thin2", str(now), metadata]
    chunk, ended = 0, False
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=bind_to_parent(),
    ) as asked:
        assert asked.stdout is not None and asked.stderr is not None
        try:
            for line in asked.stdout:
                if head := CHUNK.search(line):
                    chunk = int(head[1]) * SECTOR
                ended = ended or END in line
                for kind, begin, length in RANGE.findall(line):
                    if not chunk:
                        raise NoHint("thin_delta does not say how large a chunk is")
                    if kind != b"same":
                        yield int(begin) * chunk, (int(begin) + int(length)) * chunk
            said = asked.stderr.read()
        finally:
            asked.kill()
    if asked.returncode or not ended:
        raise NoHint(f"thin_delta: {last_word(said)}")


@contextmanager
def _metadata_snapshot(pool: PoolDevices) -> Iterator[None]:
    """The pool's metadata stands still for a look, within the `with`. Raises NoHint, Failed.

    The lock file says "reserved" from before the kernel is asked until it was let go: who has the lock and finds
    that word knows that the one who wrote it is dead, and that the snapshot in the kernel is ours to release.
    """
    descriptor = os.open(folder() / f"{pool.id}.metadata", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor)
        if _held(pool):
            if not os.pread(descriptor, 16, 0):
                raise NoHint(
                    "somebody else holds the pool's metadata snapshot; let it go:"
                    f" dmsetup message {_number(pool)} 0 release_metadata_snap"
                )
            _tell(pool, "release_metadata_snap")
        os.pwrite(descriptor, b"reserved", 0)
        os.fsync(descriptor)
        try:
            _tell(pool, "reserve_metadata_snap")
            yield
        finally:
            if _held(pool):
                _tell(pool, "release_metadata_snap")
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    end = time.monotonic() + WAITS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise NoHint("another backup looks into the pool's metadata") from None
            time.sleep(0.2)


def _held(pool: PoolDevices) -> bool:
    return kernel.metadata_held(kernel.status(pool.device))


def _number(pool: PoolDevices) -> str:
    major, minor = pool.device
    return f"--major {major} --minor {minor}"


def _tell(pool: PoolDevices, message: str) -> None:
    change(["dmsetup", "message", *_number(pool).split(), "0", message])
