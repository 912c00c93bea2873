"""What the key that backs up may do beyond its work, tried on an object made for it, where versions are kept."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from engines.backup.errors import FarFailed
from engines.backup.store.s3.bucket import ASIDE, Bucket
from engines.backup.store.s3.versions import ObjectVersions, policy
from engines.backup.store.store import TEMPORARY
from engines.job.errors import Refused

SHORT = timedelta(seconds=2)  # that the trial locks its object where it may


def excess(where: str, bucket: Bucket) -> tuple[str, ...]:
    """What it may and should not, in words; empty where that is nothing, or the bucket keeps no versions.

    Raises Refused, FarFailed where it cannot be tried.
    """
    versions = ObjectVersions(where)
    if not _asks(versions.kept):
        return ()
    name = f"{ASIDE}/{TEMPORARY}rights-{os.urandom(8).hex()}"
    bucket.put(name, b"x")
    found = []
    if _may(lambda: versions.lock(name, datetime.now(UTC) + SHORT, "GOVERNANCE")):
        found.append("change how long things are locked")
    other = f"{name}-2"
    bucket.put(other, b"x")
    if _may(lambda: versions.delete_for_good(other)):
        found.append("delete versions for good")
    for one in (name, other):
        bucket.delete(one)
    return tuple(found)


def _asks(kept: Callable[[], bool]) -> bool:
    """Whether the bucket keeps versions; as if it did where a key may not even ask."""
    try:
        return kept()
    except FarFailed as failed:
        if failed.errno != errno.EACCES:
            raise
        return True


def _may(work: Callable[[], None]) -> bool:
    try:
        work()
    except FarFailed:
        return False
    return True


def advice(where: str, bucket: Bucket) -> tuple[tuple[str, ...], str]:
    """Warnings about the key that backs up, and the policy that it should have, as text."""
    text = json.dumps(policy(bucket.address), indent=1)
    try:
        may = excess(where, bucket)
    except (Refused, FarFailed) as error:
        return (f"what its key may do beyond backups was not tried: {error.why}",), text
    if not may:
        return (), text
    said = f"the key that backs up may {' and '.join(may)}: who takes it can take every backup; give it the policy"
    return (f"{said} below (also: crashcart backup fitness {where})",), text
