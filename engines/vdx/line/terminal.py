"""A program on a pseudo-terminal: read until something is recognised, by a deadline, and end with its parent."""

from __future__ import annotations

import os
import select
import signal
import termios
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from engines.host.child import die_with_parent
from engines.job.contract import Cancel
from engines.job.params import Secret
from engines.vdx.line.patterns import Patterns
from engines.vdx.line.screen import cut_more, plain
from engines.vdx.line.transcript import Transcript

T = TypeVar("T")
Judge = Callable[[str], T | None]

TALKING = 40  # times the silence allowed: the longest that anything may take, log lines and all
MOST = 8 << 20  # characters of one answer; the longest configuration has 2 million
AT_ONCE = 1 << 20  # characters that are read before they are looked at: each look is at all of them
TICK = 0.02  # s between looks at the stop request
WIDE = (24, 511)  # rows, columns: ConfD wraps and redraws at the right edge


class Ended(Exception):
    """The line is gone; `said` is what was read since the last recognised thing."""

    def __init__(self, said: str) -> None:
        super().__init__("the line ended")
        self.said = said


class Silent(Exception):
    """Nothing recognisable came in time; `said` is what did."""

    def __init__(self, said: str, seconds: float) -> None:
        super().__init__(f"no known prompt within {seconds:.0f} s")
        self.said = said


class Terminal:
    """One program. `echo` is whether the pseudo-terminal itself echoes, which ssh must find as at a real one.

    agent: whether it may ask the user's ssh agent.
    """

    def __init__(
        self,
        argv: list[str],
        transcript: Transcript | None,
        patterns: Patterns,
        cancel: Cancel,
        *,
        echo: bool,
        agent: bool = False,
    ) -> None:
        import pexpect

        self._gone: tuple[type[Exception], ...] = (pexpect.EOF, OSError)
        self._quiet: type[Exception] = pexpect.TIMEOUT
        self._patterns = patterns
        self._cancel = cancel
        self._raw = ""
        self._child: Any = pexpect.spawn(
            argv[0],
            argv[1:],
            env=_environment(agent=agent),
            dimensions=WIDE,
            encoding="utf-8",
            codec_errors="replace",
            echo=echo,
            preexec_fn=die_with_parent,
        )
        if not echo:
            # A console command such as nc leaves the line cooked: keys would wait for Enter. At once, for whoever waits
            # until all that a program says is read, before reading any of it, waits for ever.
            tty.setraw(self._child.child_fd, termios.TCSANOW)
        self._child.logfile_read = transcript
        self._child.delaybeforesend = None
        self._child.ptyproc.delayafterclose = 0.005
        self._child.ptyproc.delayafterterminate = 0.005

    def until(self, judge: Judge[T], seconds: float, *, settle: float = 0.0) -> T:
        """Read until `judge` of the text so far gives something, and `settle` seconds of quiet do not take it back.

        `seconds` counts silence: a slow line that goes on talking is waited for. The judged text is used up.
        Raises Ended, Silent, Stopped.
        """
        began = time.monotonic()
        deadline, last = began + seconds, began + seconds * TALKING
        while True:
            more = cut_more(self._raw, self._patterns)
            if more is not None:
                self._raw = more
                self.send(" ")
            found = judge(plain(self._raw))
            if found is not None and (settle == 0.0 or not self._read(settle)):
                self._raw = ""
                return found
            if len(self._raw) > MOST:
                raise Silent(self._used(), seconds)  # it talks without an end, and says nothing that is known
            left = deadline - time.monotonic()
            if found is None:
                if self._read(min(TICK, max(left, 0.0))):
                    deadline = min(time.monotonic() + seconds, last)
                self._cancel.check()
            if left <= 0:
                raise Silent(self._used(), seconds)

    def _read(self, seconds: float) -> bool:
        """Whether something came within that time."""
        pieces: list[str] = []
        try:
            pieces.append(self._child.read_nonblocking(65536, max(seconds, 0.001)))
            while sum(map(len, pieces)) < AT_ONCE:
                pieces.append(self._child.read_nonblocking(65536, 0))
        except self._quiet:
            return bool(pieces)
        except self._gone:
            if rest := self._rest():
                pieces.append(rest)
            if not pieces:
                raise Ended(self._used()) from None  # else the next reading ends
        finally:
            self._raw += "".join(pieces)
        return True

    def _rest(self) -> str:
        """What a program that has ended said last: pexpect may take its end for that of what the kernel still holds."""
        found = bytearray()
        with suppress(OSError, ValueError):  # EIO, which the kernel says behind the last byte; or it is closed
            while len(found) < AT_ONCE and select.select([self._child.child_fd], [], [], TICK)[0]:
                if not (part := os.read(self._child.child_fd, 65536)):
                    break
                found += part
        text = found.decode("utf-8", "replace")
        if text and self._child.logfile_read:
            self._child.logfile_read.write(text)
        return text

    def _used(self) -> str:
        said, self._raw = plain(self._raw), ""
        return said

    def drop(self) -> None:
        """Forget what has been read."""
        self._raw = ""

    def send(self, text: str) -> None:
        """Type it. Raises Ended."""
        try:
            self._child.send(text)
        except self._gone:
            raise Ended(self._used()) from None

    def send_secret(self, secret: Secret, after: float = 0.05) -> None:
        """Type a secret and Enter, `after` seconds late: an echo that cannot be watched needs time to go off."""
        time.sleep(after)
        self.send(secret.reveal() + "\r")

    def echo_is_off(self, seconds: float) -> bool:
        """Whether the program turns the terminal's echo off within that time."""
        try:
            return bool(self._child.waitnoecho(seconds))
        except self._gone:
            raise Ended(self._used()) from None

    def kill(self) -> None:
        """End the program before it says another word: ssh answers a question with nothing once its terminal closes."""
        import pexpect

        with suppress(pexpect.ExceptionPexpect, OSError):
            self._child.kill(signal.SIGKILL)

    def close(self) -> None:
        """End the program and reap it."""
        import pexpect

        with suppress(pexpect.ExceptionPexpect, OSError):
            self._child.close(force=True)


def _environment(*, agent: bool) -> dict[str, str]:
    names = ("PATH", "HOME", "USER", "LOGNAME", *(("SSH_AUTH_SOCK",) if agent else ()))
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "TERM": "dumb", "LC_ALL": "C"}
