"""A device of another host that one run alone writes to: a lock there that lasts as long as the line that took it."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from engines.backup.commands.far_place import ANSWERS_WITHIN, FarPlace
from engines.job.errors import Failed, Refused

LETS_GO_WITHIN = 20.0  # s

# Its standard input ends with the line, and the kernel there lets the lock go with the process.
HOLD = r"""
command -v flock >/dev/null || { echo none; exec cat >/dev/null; }
exec 9<"$path" || exit 1
if flock -w 5 9; then echo "held $$"; exec cat >/dev/null; fi
for f in /proc/[0-9]*/fd/9; do
  p=${f#/proc/}; p=${p%%/*}
  [ "$p" != $$ ] && [ "$f" -ef "$path" ] && echo "taken $p" && exit 0
done
echo taken
"""


@dataclass(frozen=True)
class FarHold:
    """process: its number there, empty where that host has no such lock and `warning` says so."""

    there: FarPlace
    line: subprocess.Popen[bytes]
    process: str
    warning: str = ""

    def demand(self) -> None:
        """Raises Failed where it was let go of, as with a cut line."""
        if self.line.poll() is not None:
            raise Failed(
                f"the line that keeps {self.there.path} on {self.there.host} for this run alone was cut",
                "see that host and the way there, then take it up again",
            )


@contextmanager
def held(there: FarPlace) -> Iterator[FarHold]:
    """Within the `with`. Raises Refused where another run has it, Failed where that cannot be told."""
    with there.begin(HOLD) as line:
        try:
            assert line.stdout is not None
            said, _, process = _line(line.stdout).partition(" ")
            match said:
                case "held":
                    yield FarHold(there, line, process)
                case "none":
                    warning = f"{there.host} has no flock (util-linux): that no other run writes there is not made sure"
                    yield FarHold(there, line, "", warning)
                case "taken":
                    who = f" (process {process} there)" if process else ""
                    raise Refused(
                        f"another run writes to {there.path} on {there.host}{who}",
                        "wait for it to end; where it is one whose line was cut, end that process there",
                    )
                case _:
                    line.kill()
                    assert line.stderr is not None
                    raise there.failed(line.wait(), line.stderr.read())
        finally:
            _let_go(line)


def _let_go(line: subprocess.Popen[bytes]) -> None:
    """Have it end there first, so that whoever comes next finds the device free; a dead line is not waited for long."""
    assert line.stdin is not None
    with suppress(OSError):
        line.stdin.close()
    try:
        line.wait(LETS_GO_WITHIN)
    except subprocess.TimeoutExpired:
        line.kill()


def _line(stream: IO[bytes]) -> str:
    ready, _, _ = select.select([stream], [], [], ANSWERS_WITHIN)
    return stream.readline(100).decode("ascii", "replace").strip() if ready else ""
