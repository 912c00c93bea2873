"""The two kinds of processes that make a cluster: one scheduler, where all meet, and workers."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from engines.fleet.config.model import Cluster, Fleet
from engines.fleet.spread import resources
from engines.fleet.spread.papers import Papers
from engines.fleet.spread.security import member
from engines.job.errors import BadParam, Failed, Refused

ANSWERS = 5.0  # s that a scheduler has to take a connection
AGAIN = 2.0  # s until a worker looks for a scheduler again
LOOK = 60.0  # s between two looks at fleet.yaml
PAPERS = 5.0  # s between two looks whether other papers lie there, or another list of those that are denied
QUIET = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # Dask opens a port for pages, with none on it


def schedule(fleet: Fleet) -> Iterator[str]:
    """Be the scheduler until the process ends; says where. Raises Refused, Failed."""
    cluster = member(fleet)
    papers = Papers(cluster)
    from distributed import Scheduler

    place = urlsplit(cluster.scheduler)

    async def served() -> AsyncIterator[str]:
        while True:
            paper = papers.taken()
            try:
                made = await Scheduler(
                    host=_hostname(cluster), port=place.port, protocol=place.scheme, security=paper, **QUIET
                )
            except (OSError, ValueError) as error:
                raise Failed(
                    f"{cluster.scheduler}: {error}", "name an address of this machine in cluster.scheduler"
                ) from None
            async with made:
                yield f"the scheduler is at {made.address}"
                if not await _kept(made, papers):
                    return
            yield f"{papers.where} has other papers: all members join anew by them"

    yield from _through(served())


def serve(read: Callable[[], Fleet], name: str, jobs: int, only: Sequence[str]) -> Iterator[str]:
    """Be a worker until the process ends, of this scheduler and of the next; says when it joins. Raises Refused.

    read: gives the fleet as it is now, whose limits may change. jobs: how many are followed at once; only: the
    repositories that can be reached from here, all where none is named.
    """
    fleet = read()
    for unknown in set(only) - fleet.repositories.keys():
        raise BadParam("only", unknown, "one of " + ", ".join(fleet.repositories))
    cluster = member(fleet)
    papers = Papers(cluster)
    from distributed import Worker
    from distributed.comm import connect
    from distributed.security import Security

    from engines.fleet.spread.letting_go import letting_go

    async def served() -> AsyncIterator[str]:
        with tempfile.TemporaryDirectory(prefix="crashcart-worker-") as folder:
            said = ""
            while True:
                try:
                    paper = papers.taken()
                    arguments = (paper or Security()).get_connection_args("worker")
                    (await connect(cluster.scheduler, timeout=ANSWERS, **arguments)).abort()
                    made = await Worker(
                        cluster.scheduler,
                        name=name,
                        nthreads=jobs,
                        memory_limit=0,
                        local_directory=folder,
                        resources=resources.of(fleet, only),
                        plugins=[letting_go()],
                        security=paper,
                        host=None if cluster.encrypted else _hostname(cluster),
                        **QUIET,
                    )
                except (OSError, TimeoutError, ValueError, RuntimeError) as error:
                    if not said:
                        why = str(error.__cause__ or error).rpartition(">: ")[2]
                        said = f"{cluster.scheduler} cannot be joined yet: {why}"
                        yield said
                    await asyncio.sleep(AGAIN)
                    continue
                said = ""
                yield f"worker {name} is at {made.address}"
                if await _kept(made, papers, partial(_limits, made, read, only)):
                    await made.close(executor_wait=False, reason="other papers")
                    yield f"{papers.where} has other papers: worker {name} joins anew by them"
                else:
                    yield f"the scheduler {cluster.scheduler} is gone; it is waited for"

    yield from _through(served())


def _hostname(cluster: Cluster) -> str:
    """Where the scheduler listens, and without TLS its workers too: anyone who reaches one can run code as it."""
    name = urlsplit(cluster.scheduler).hostname or ""
    return f"[{name}]" if ":" in name else name


async def _kept(made: Any, papers: Papers, tell: Callable[[], Awaitable[None]] | None = None) -> bool:
    """Until it ends by itself, or whether other papers lie there. tell: is done now and then."""
    end = asyncio.ensure_future(made.finished())
    told = time.monotonic()
    try:
        while not end.done():
            await asyncio.wait([end], timeout=PAPERS)
            if papers.others():
                return True
            if tell and not end.done() and time.monotonic() - told >= LOOK:
                await tell()
                told = time.monotonic()
        return False
    finally:
        end.cancel()


async def _limits(worker: Any, read: Callable[[], Fleet], only: Sequence[str]) -> None:
    """What fleet.yaml says by now is said to the scheduler."""
    try:
        now = resources.of(read(), only)
    except Refused:
        return  # it is being edited
    had = {each: most for each, most in worker.state.total_resources.items() if most}
    if now != had:
        with suppress(OSError, ValueError):  # the scheduler is gone, and the next is told anew
            await worker.set_resources(**{**dict.fromkeys(had, 0), **now})


def _through(lines: AsyncIterator[Any]) -> Iterator[str]:
    """What comes of it, in an event loop of this thread."""
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(_next(lines))
            except StopAsyncIteration:
                return


async def _next(lines: AsyncIterator[Any]) -> Any:
    return await anext(lines)
