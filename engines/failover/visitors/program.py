"""A visitor that is one command a load: starts, fetches, prints the page, ends."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from engines.failover.visitors.visit import Setting, Visit, shown
from engines.host.child import bind_to_parent

BEGIN = "crashcart-begin"
"""A script prints this word and the Unix time once it is loaded, before it fetches: its start is no waiting time."""
TELLING = re.compile(r"(?i)error|exception|refused|reset|timed out|failed")  # what a stack trace ends with is no reason
START = 90.0  # s, for an interpreter or a compiler on a machine with other work


@dataclass
class Program:
    """`argv` is complete; `prepare` runs once before (a compiler)."""

    argv: Sequence[str]
    setting: Setting
    prepare: Sequence[str] = ()
    begins: bool = False
    lasting: bool = False

    def open(self) -> None:
        """Build what needs building."""
        if self.prepare:
            done = subprocess.run(
                self.prepare,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
                env=self.setting.environment(),
                cwd=self.setting.scratch,
            )
            if done.returncode:
                raise RuntimeError((done.stderr.strip().splitlines() or ["the build failed"])[-1])

    def visit(self, cap: float) -> Visit:
        """Run it once."""
        began = time.time()
        self.setting.mark(began)
        process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.setting.environment(),
            cwd=self.setting.scratch,
            preexec_fn=bind_to_parent(),
        )
        told = _Words(process)
        try:
            if self.begins and (said := told.begin(START)):
                began = said
            process.wait(max(0.0, began + cap - time.time()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            return Visit(began, cap, waiting=True)
        ended = time.time()
        page, complaint = told.all()
        letter = shown(page)
        seconds = round((told.page_at or ended) - began, 3)  # an interpreter's end is no waiting time either
        return Visit(began, seconds, letter, "" if letter else _complaint(complaint, process.returncode))

    def reload(self, cap: float) -> Visit:
        """The same as a first load: it keeps nothing."""
        return self.visit(cap)

    def close(self) -> None:
        """Nothing is left running between loads."""


class _Words:
    """Reads what a process says, as it says it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._lines: tuple[list[str], list[str]] = ([], [])
        self.page_at: float | None = None
        self._began: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        streams = (process.stdout, process.stderr)
        self._threads = [threading.Thread(target=self._read, args=(at, one)) for at, one in enumerate(streams)]
        for thread in self._threads:
            thread.start()

    def _read(self, at: int, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                if at == 0 and line.startswith(BEGIN):
                    self._began.put(float(line.split()[1]))
                if at == 0 and shown(line):
                    self.page_at = self.page_at or time.time()
                self._lines[at].append(line)
        self._began.put(None)

    def begin(self, within: float) -> float | None:
        """The Unix time at which it begins to fetch; None where it ended before, or says nothing `within` seconds."""
        try:
            return self._began.get(timeout=within)
        except queue.Empty:
            return None

    def all(self) -> tuple[str, str]:
        """Everything on stdout, and on stderr."""
        for thread in self._threads:
            thread.join(10)
        return "".join(self._lines[0]), "".join(self._lines[1])


def _complaint(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if TELLING.search(line)]
    return (telling or lines)[-1][:200] if lines else f"no page, exit code {code}"
