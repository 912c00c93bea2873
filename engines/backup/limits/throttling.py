"""Chooses what holds the reading of a source to its limit: the kernel where it can, else waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engines.backup.limits.throttle import Limit, Throttle, TokenBucket, Unlimited
from engines.host.device import Device
from engines.job.contract import Cancel

if TYPE_CHECKING:
    from engines.backup.limits.kernel import KernelThrottle
    from engines.backup.limits.speed import Speed


@contextmanager
def throttled(
    limit: Limit, reads_from: Device | str, speed: Callable[[], Speed], cancel: Cancel, reader: int = 0
) -> Iterator[Throttle]:
    """What enforces `limit`, within the `with`.

    reads_from: the device whose reads are counted (the snapshot's own, not its origin's), or why there is no one such.
    speed: asked for a share only. reader: the process that reads for us; 0 where we do.
    """
    rate, origin = float(limit.rate), "as asked"
    if limit.share:
        found = speed()
        rate = found.rate * limit.share
        origin = f"{limit.share:.0%} of {found.rate / 1e6:.0f} MB/s, {found.origin}"
    if not rate:
        yield Unlimited()
        return
    chosen = _chosen(int(rate), origin, reads_from, cancel, reader)
    try:
        yield chosen
    finally:
        if not isinstance(chosen, TokenBucket):
            chosen.close()


def _chosen(
    rate: int, origin: str, reads_from: Device | str, cancel: Cancel, reader: int
) -> KernelThrottle | TokenBucket:
    if isinstance(reads_from, str):
        return TokenBucket(rate, f"{origin}; no cgroup: {reads_from}", cancel)
    from engines.backup.limits import cgroup
    from engines.backup.limits.groups import Unavailable, grouped
    from engines.backup.limits.kernel import KernelThrottle

    hierarchy = cgroup.mounted()
    if hierarchy is None:
        return TokenBucket(rate, f"{origin}; no cgroup limits reading here", cancel)
    try:
        return KernelThrottle(grouped(hierarchy, reads_from, rate, reader), rate, origin, cancel, reader)
    except Unavailable as why:
        return TokenBucket(rate, f"{origin}; no cgroup: {why}", cancel)
