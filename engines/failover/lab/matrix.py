"""Many cells at once: browsers a few, programs more, each in namespaces of its own, and none outlives the lab."""

from __future__ import annotations

import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from engines.failover.lab import namespaces, registry
from engines.failover.lab.measurement import FIRST, Order, Seen
from engines.failover.visitors.clients import catalogue
from engines.host import child
from engines.job.contract import Cancel
from engines.job.errors import CrashcartError

BROWSERS = max(2, (os.cpu_count() or 2) + 1)  # at once; they spend their time waiting, their start is what costs
PROGRAMS = max(4, 2 * (os.cpu_count() or 2))  # more of them would wait for a core when they should wait for a SYN
GRACE = 2 * FIRST + 180.0  # s beyond its cap in which a cell must have said its word; browsers start slowly under load
TICK = 0.2  # s between looks at the stop request


class CellLine(msgspec.Struct, frozen=True):
    """A line from a cell: `event` is load, syn or seen; `data` its fields; `seen` the result."""

    order: Order
    event: str
    data: dict[str, Any] = {}
    seen: Seen | None = None


class Matrix:
    """Runs orders, longest first."""

    def __init__(self, record: registry.Record) -> None:
        self._record = record
        self._told: queue.Queue[CellLine] = queue.Queue()
        self._live: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, orders: Sequence[Order], cancel: Cancel) -> Iterator[CellLine]:
        """What the cells tell, as it comes; ends when every order has its result. Raises Stopped."""
        pools: dict[bool, queue.SimpleQueue[Order]] = {True: queue.SimpleQueue(), False: queue.SimpleQueue()}
        for order in sorted(orders, key=_length, reverse=True):
            pools[catalogue()[order.client].kind == "browser"].put(order)
        for pool, width in ((pools[True], BROWSERS), (pools[False], PROGRAMS)):
            for _ in range(min(width, pool.qsize())):
                threading.Thread(target=self._work, args=(pool,), daemon=True).start()
        left = len(orders)
        try:
            while left:
                cancel.check()
                try:
                    told = self._told.get(timeout=TICK)
                except queue.Empty:
                    continue
                left -= told.event == "seen"
                yield told
        finally:
            self._close()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            live = list(self._live)
        for process in live:
            process.kill()
        for process in live:
            process.wait(30)

    def _work(self, pool: queue.SimpleQueue[Order]) -> None:
        while not self._closed:
            try:
                order = pool.get_nowait()
            except queue.Empty:
                return
            try:
                seen = self._one(order)
            except (OSError, CrashcartError, subprocess.SubprocessError) as error:
                seen = _broken(order, str(error))
            self._told.put(CellLine(order, "seen", seen=seen))

    def _one(self, order: Order) -> Seen:
        with tempfile.TemporaryFile() as complaints:
            process = self._start(complaints.fileno())
            if process is None:
                return _broken(order, "stopped")
            late = threading.Timer(order.cap + order.idle + GRACE, process.kill)
            late.start()
            seen = None
            try:
                seen = self._listen(order, process)
            except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
                complaints.write(f"{error}\n".encode())  # a cell that was killed in mid-word
            finally:
                late.cancel()
                process.kill()
                process.wait(30)
                with self._lock:
                    self._live.discard(process)
            complaints.seek(0)
            last = complaints.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            return seen or _broken(order, (last or ["it ended without a word"])[0])

    def _start(self, complaints: int) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._closed:
                return None
            process = child.start(
                [*namespaces.command(), *child.module("engines.failover.lab.measurement")],
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=environment(self._record),
                before=child.bind_to_parent(),
            )
            self._live.add(process)
        registry.note(self._record, process.pid)
        return process

    def _listen(self, order: Order, process: subprocess.Popen[bytes]) -> Seen | None:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                data = msgspec.json.decode(line)
                event = data.pop("event")
                if event == "seen":
                    return msgspec.convert(data["seen"], Seen)
                self._told.put(CellLine(order, event, data))
        return None


def _length(order: Order) -> float:
    return order.cap + order.idle if order.fault in ("drop", "hang", "mid-session", "") else 5.0


def _broken(order: Order, why: str) -> Seen:
    return Seen(client=order.client, fault=order.fault, run=order.run, outcome="broken", error=why, idle=order.idle)


def environment(record: registry.Record) -> dict[str, str]:
    """For a cell: the mark of its lab, where its programs are, and nothing of the session."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    return child.environment({registry.MARK: record.token, "PATH": path, "LANG": "C.UTF-8"})
