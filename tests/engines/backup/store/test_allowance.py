"""What is asked of a bucket at one time has an end, and all that is asked for comes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engines.backup.store.s3.allowance import Allowance
from engines.backup.store.s3.bucket import UNDER_WAY
from engines.backup.store.s3.client import ANSWERS_WITHIN

SLOW = 250_000  # bytes/s of a line


def test_all_that_is_under_way_comes_over_a_slow_line_within_the_time_of_a_request() -> None:
    assert UNDER_WAY / SLOW < ANSWERS_WITHIN


def test_no_more_than_the_allowance_is_under_way_and_everyone_has_a_turn() -> None:
    allowance, lock, seen, now = Allowance(6), threading.Lock(), list[int](), 0

    def ask(size: int) -> int:
        nonlocal now
        with allowance.of(size):
            with lock:
                now += min(size, 6)
                seen.append(now)
            with lock:
                now -= min(size, 6)
        return size

    sizes = [1, 4, 6, 100, 2] * 40
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, sizes, timeout=120)) == sizes
    assert max(seen) <= 6 and now == 0


def test_as_many_as_fit_are_under_way_together() -> None:
    allowance, together = Allowance(6), threading.Barrier(3)

    def ask(_: int) -> int:
        with allowance.of(2):
            return together.wait(120)

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(ask, range(3))) == [0, 1, 2]


def test_what_fails_gives_its_bytes_back() -> None:
    allowance = Allowance(6)
    for _ in range(2):
        with pytest.raises(OSError, match="cut"), allowance.of(6):
            raise OSError("cut")
