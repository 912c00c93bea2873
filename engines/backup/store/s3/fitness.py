"""Whether a bucket keeps the promises that a repository rests on, each proven by doing it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.store.s3.bucket import ASIDE, Bucket
from engines.backup.store.s3.upload import PART
from engines.backup.store.store import TEMPORARY
from engines.job.errors import Refused

RACE = 8  # that write one name at once
LISTED = 20  # objects that must be listed as soon as they are written


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: its name, whether it was kept, and what was seen where it was not."""

    name: str
    kept: bool
    seen: str = ""


def demand(bucket: Bucket) -> None:
    """Raises Refused by the name of what the bucket lacks, FarFailed where it cannot be asked."""
    broken = [proof for proof in prove(bucket) if not proof.kept]
    if broken:
        said = "; ".join(f"{proof.name} ({proof.seen})" for proof in broken)
        raise Refused(
            f"bucket {bucket.address.bucket} at {bucket.access.place} lacks what a repository needs: {said}",
            "use a server that has it (SeaweedFS from 4.42 on, Amazon S3); nothing was left there",
        )


def prove(bucket: Bucket) -> list[Proof]:
    """Every promise, tried with small objects that are removed again. Raises FarFailed."""
    folder = f"{ASIDE}/{TEMPORARY}fitness-{os.urandom(8).hex()}"
    proofs = (_create, _swap, _listing, _past_the_end, _unseen)
    try:
        return [_proven(bucket, folder, proof) for proof in proofs]
    finally:
        with contextlib.suppress(OSError):
            for name, _ in list(bucket.listed(folder)):
                bucket.delete(name)


def _proven(bucket: Bucket, folder: str, proof: Callable[[Bucket, str], str]) -> Proof:
    seen = proof(bucket, folder)
    return Proof(name=(proof.__doc__ or "").rstrip("."), kept=not seen, seen=seen)


def _create(bucket: Bucket, folder: str) -> str:
    """writing a name only where there is none (If-None-Match)."""
    name = f"{folder}/race"

    def try_it(number: int) -> bool:
        try:
            bucket.create(name, f"writer {number}".encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(RACE) as racing:
        won = [number for number, has_won in enumerate(racing.map(try_it, range(RACE))) if has_won]
    if len(won) != 1:
        return f"{len(won)} of {RACE} that wrote one name at once were told it was theirs"
    return "" if bucket.whole(name) == f"writer {won[0]}".encode() else "another's content is there than the winner's"


def _swap(bucket: Bucket, folder: str) -> str:
    """replacing only what has not changed (If-Match)."""
    name = f"{folder}/swap"
    bucket.put(name, b"one")
    tag = bucket.head(name).tag
    bucket.swap(name, b"two", tag)
    try:
        bucket.swap(name, b"three", tag)
    except FileExistsError:
        return "" if bucket.whole(name) == b"two" else "the content is another"
    return "it replaced what had changed since"


def _listing(bucket: Bucket, folder: str) -> str:
    """listing what was just written, and not what was just deleted."""
    names = {f"{folder}/list/{number}" for number in range(LISTED)}
    with ThreadPoolExecutor(RACE) as writing:
        list(writing.map(lambda name: bucket.put(name, b"x"), names))
    seen = {name for name, _ in bucket.listed(f"{folder}/list")}
    if seen != names:
        return f"{len(names - seen)} of {len(names)} were not listed"
    gone = min(names)
    bucket.delete(gone)
    return "what was deleted is still listed" if gone in {name for name, _ in bucket.listed(f"{folder}/list")} else ""


def _past_the_end(bucket: Bucket, folder: str) -> str:
    """reading a part of an object, also past its end."""
    name = f"{folder}/range"
    bucket.put(name, b"0123456789")
    found = (bucket.read(name, 2, 3), bucket.read(name, 8, 10), bucket.read(name, 20, 10))
    return "" if found == (b"234", b"89", b"") else f"it gave {found!r}"


def _unseen(bucket: Bucket, folder: str) -> str:
    """an upload in parts that is seen only when it is complete."""
    name = f"{folder}/upload"
    upload = bucket.upload(name)
    for _ in range(3):
        upload.write(bytes(PART))
    with contextlib.suppress(FileNotFoundError):
        bucket.head(name)
        return "it was seen before"
    upload.complete()
    return "" if bucket.head(name).size == 3 * PART else "it has another size"
