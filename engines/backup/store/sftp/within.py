"""A question to a far side has an end, whatever it would yet ask on its way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` returns. Raises TimeoutError on time: it does not wait for work to close a file on its way out."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait((task,), timeout=seconds)
    if done:
        return task.result()
    task.cancel()
    raise TimeoutError
