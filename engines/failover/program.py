"""A visitor that is one command a load: starts, fetches, prints the page, ends."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.boot.child import bind_to_parent
from engines.failover.copies import shown
from engines.failover.visit import Setting, Visit

BEGIN = "crashcart-begin"
"""A script prints this line once it is loaded, right before it fetches: an interpreter's start is no waiting time."""


@dataclass
class Program:
    """`argv` is complete; `prepare` runs once before (a compiler)."""

    argv: Sequence[str]
    setting: Setting
    prepare: Sequence[str] = ()
    begins: bool = False
    lasting: bool = False
    _said: list[str] = field(default_factory=list)

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
        assert process.stdout is not None
        late = threading.Timer(cap + 60.0, process.kill)  # s; an interpreter that never says begin
        late.start()
        if self.begins and process.stdout.readline().strip() == BEGIN:
            began = time.time()
        late.cancel()
        try:
            said, complained = process.communicate(timeout=cap)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Visit(began, cap, waiting=True)
        seconds = round(time.time() - began, 3)
        letter = shown(said)
        error = "" if letter else _complaint(complained, process.returncode)
        return Visit(began, seconds, letter, error)

    def reload(self, cap: float) -> Visit:
        """The same as a first load: it keeps nothing."""
        return self.visit(cap)

    def close(self) -> None:
        """Nothing is left running between loads."""


def _complaint(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"no page, exit code {code}"
