"""A device of another host that one run alone writes to: a lock there that lasts as long as the line that took it."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from engines.backup.commands.far_place import ANSWERS_WITHIN, LONGEST, FarPlace
from engines.job.errors import Failed, Refused

LETS_GO_WITHIN = 20.0  # s

# A flock that fails for another reason than a lock (no -w, a file system without locks) is as good as none.
# One of util-linux before -E has 1 for a lock that another holds; so has busybox's for words that it does not know.
# Who has the device open at 9 may be anybody (udev): the holder's descriptor is one with a lock.
# Its standard input ends with the line, and the kernel there lets the lock go with the process.
HOLD = r"""
command -v flock >/dev/null || { echo none; exec cat >/dev/null; }
exec 9<"$path" || exit 1
flock -E 77 -w 5 9
code=$?
if [ $code != 0 ] && [ $code != 77 ] && flock --version 2>/dev/null | grep -q util-linux; then
  flock -w 5 9
  code=$?
  [ $code != 1 ] || code=77
fi
case $code in
  0) echo "held $$"; exec cat >/dev/null;;
  77) ;;
  *) echo none; exec cat >/dev/null;;
esac
for f in /proc/[0-9]*/fd/9; do
  p=${f#/proc/}; p=${p%%/*}
  [ "$p" != $$ ] && [ "$f" -ef "$path" ] && grep -q 'lock:.*FLOCK' "/proc/$p/fdinfo/9" && echo "taken $p" && exit 0
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
    with tempfile.TemporaryFile() as errors, there.begin(HOLD, errors) as line:  # a pipe would fill in hours
        try:
            said, _, process = _answer(there, line).partition(" ")
            match said:
                case "held":
                    yield FarHold(there, line, process)
                case "none":
                    warning = (
                        f"{there.host} has no flock (util-linux) that works: that no other run writes there is not sure"
                    )
                    yield FarHold(there, line, "", warning)
                case "taken":
                    who = f" (process {process} there)" if process else ""
                    raise Refused(
                        f"another run writes to {there.path} on {there.host}{who}",
                        "wait for it to end; where it is one whose line was cut, end that process there",
                    )
                case _:
                    line.kill()
                    code = line.wait()
                    errors.seek(0)
                    raise there.failed(code, errors.read(LONGEST))
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


def _answer(there: FarPlace, line: subprocess.Popen[bytes]) -> str:
    assert line.stdout is not None
    try:
        return first_line(line.stdout.fileno(), time.monotonic() + ANSWERS_WITHIN)
    except TimeoutError:
        line.kill()
        raise there.silent() from None


def first_line(descriptor: int, end: float) -> str:
    """What comes before a line's end, or 100 bytes of it. Raises TimeoutError at `end`."""
    said = b""
    while b"\n" not in said and len(said) < 100:
        if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError
        piece = os.read(descriptor, 100)
        if not piece:
            break
        said += piece
    return said.partition(b"\n")[0].decode("ascii", "replace").strip()
